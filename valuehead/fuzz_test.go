package valuehead

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// Whatever a file holds that calls itself a head, with a checksum that fits it, it is refused with a word on what to
// do, or is a head: what is saved of it is read as the same.
func FuzzLoad(f *testing.F) {
	dir := f.TempDir()
	path, again := filepath.Join(dir, "head.gguf"), filepath.Join(dir, "again.gguf")
	for _, kind := range []Kind{Linear, MLP} {
		h, _ := mustTrain(f, synthetic(f, 20, 1), TrainOptions{Kind: kind, Hidden: 3, Epochs: 1, Seed: 1})
		if err := h.Save(path); err != nil {
			f.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := sealed(path); err != nil {
			return // no GGUF: that reader has a test of its own
		}
		h, err := Load(path)
		if err != nil {
			if !strings.HasSuffix(err.Error(), ")") || !strings.Contains(err.Error(), path) {
				t.Errorf("it does not say which file, or what to do: %v", err)
			}
			return
		}
		if err := h.Save(again); err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if other, err := Load(again); err != nil || !reflect.DeepEqual(other.Summary(), h.Summary()) {
			t.Errorf("saved and read again: %v", err)
		}
		values(t, h)
	})
}

// sealed gives the file at path the checksum of what it holds.
func sealed(path string) error {
	f, err := gguf.Read(path)
	if err != nil {
		return err
	}
	sum := newChecksum()
	for _, kv := range f.KVs {
		if kv.Key != keyChecksum {
			sum.kv(kv)
		}
	}
	for _, tensor := range f.Tensors {
		x, err := f.ReadF32(tensor.Name)
		if err != nil {
			return err
		}
		sum.floats(tensor.Name, x)
	}
	was, ok := f.Int(keyChecksum)
	_ = was
	if !ok {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	at := bytes.Index(data, []byte(keyChecksum))
	if at += len(keyChecksum) + 4; at < len(keyChecksum)+4 || at+8 > len(data) {
		return nil
	}
	for i := range 8 {
		data[at+i] = byte(sum.digest.Sum64() >> (8 * i))
	}
	return os.WriteFile(path, data, 0o644)
}
