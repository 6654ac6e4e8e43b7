package gguf_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// FuzzRead gives the reader any bytes: it returns without panic, allocates no more than
// a small multiple of the file's size, and what it accepts describes the file: the
// tensors lie inside it, and header and values written anew read the same.
func FuzzRead(f *testing.F) {
	good, err := os.ReadFile(write(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("GGUF\x03\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("GGUF\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	// An array that claims to be huge, of each element type.
	for t := range byte(14) {
		f.Add(append([]byte("GGUF\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00k\x09\x00\x00\x00"),
			t, 0, 0, 0, 0xff, 0xff, 0xff, 0x3f, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8))
	}
	path := filepath.Join(f.TempDir(), "fuzz.gguf")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		before := allocated()
		file, err := gguf.Read(path)
		if used := allocated() - before; used > 1<<20+200*uint64(len(data)) {
			t.Errorf("%d bytes allocated for a file of %d", used, len(data))
		}
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without text")
			}
			return
		}
		for _, info := range file.Tensors {
			if end := file.DataOffset + int64(info.Offset+info.Size); end > int64(len(data)) || end < 0 {
				t.Errorf("tensor %q ends at %d of %d", info.Name, end, len(data))
			}
		}
		checkRoundTrip(t, file)
	})
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// checkRoundTrip writes what was read, as far as Write stores it (tensors as F32), and
// reads it again.
func checkRoundTrip(t *testing.T, file *gguf.File) {
	var tensors []gguf.Tensor
	for _, info := range file.Tensors {
		data, err := file.ReadF32(info.Name)
		if err != nil {
			continue // of another type
		}
		tensors = append(tensors, gguf.Tensor{Name: info.Name, Shape: info.Shape, Data: data})
	}
	var kvs []gguf.KV
	for _, kv := range file.KVs {
		if kv.Key != "general.alignment" { // Write aligns to 32
			kvs = append(kvs, kv)
		}
	}
	path := filepath.Join(t.TempDir(), "again.gguf")
	if err := gguf.Write(path, kvs, tensors); err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	again, err := gguf.Read(path)
	if err != nil {
		t.Fatalf("what was written cannot be read: %v", err)
	}
	if len(again.KVs) != len(kvs) || len(again.Tensors) != len(tensors) {
		t.Fatalf("%d entries and %d tensors became %d and %d", len(kvs), len(tensors), len(again.KVs), len(again.Tensors))
	}
	for i, kv := range kvs {
		if !sameValue(kv, again.KVs[i]) {
			t.Errorf("%v became %v", kv, again.KVs[i])
		}
	}
	for _, want := range tensors {
		got, err := again.ReadF32(want.Name)
		if err != nil || !bytes.Equal(bits(got), bits(want.Data)) {
			t.Errorf("tensor %q: %v", want.Name, err)
		}
	}
}

// sameValue compares entries; NaN equals itself.
func sameValue(a, b gguf.KV) bool {
	return a.Key == b.Key && reflect.TypeOf(a.Value) == reflect.TypeOf(b.Value) && bytes.Equal(encoded(a.Value), encoded(b.Value))
}

func encoded(v any) []byte {
	switch v := v.(type) {
	case string:
		return []byte(v)
	case []string:
		var out []byte
		for _, s := range v {
			out = append(append(out, s...), 0xff)
		}
		return out
	}
	return bits(v)
}

// bits is a number or slice of numbers as bytes.
func bits(v any) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
		panic(err)
	}
	return b.Bytes()
}
