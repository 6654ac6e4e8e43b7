package fingerprint

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
)

// Whatever lies where sums are kept, they are none, or those that were written: a byte that is another one makes them none.
func FuzzKept(f *testing.F) {
	path := filepath.Join(f.TempDir(), "sums")
	k := &kept{path: path, identity: "a file\n1 2 3 4\n", now: func() string { return "a file\n1 2 3 4\n" }}
	sums := []uint64{1, 1 << 63}
	k.write(sums)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, false)
	f.Add(whole[:len(whole)-1], true)
	f.Add(bytes.Replace(whole, []byte("a file"), []byte("b file"), 1), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		data = bytes.Clone(data)
		if n := len(data) - 8; sealed && n >= 0 {
			binary.LittleEndian.PutUint64(data[n:], xxhash.Sum64(data[:n]))
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		for n := range 4 {
			got, ok := k.read(n)
			if ok && (len(got) != n || !bytes.HasPrefix(data, []byte(keptMagic+k.identity))) {
				t.Errorf("%d sums are read of %q", len(got), data)
			}
			if ok && !sealed && !bytes.Equal(data, whole) && slices.Equal(got, sums) {
				t.Errorf("%q is taken for what was written", data)
			}
		}
	})
}
