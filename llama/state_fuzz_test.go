//go:build !llama_system

package llama_test

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/llama"
)

// Whatever stands where a saved sequence does, though its checksum fits, it is refused and the sequence is empty then, or one that
// can be gone on with; the others are whole.
func FuzzSequence(f *testing.F) {
	limitMemory(8 << 30)
	m := load(f, "../testdata/lab/summarize-s.gguf")
	p := exact
	p.Sequences, p.Ctx = 3, 256
	c := newContext(f, m, p)
	feed(f, c, 1, 0, 10, 20, 30)
	feed(f, c, 2, 0, 1, 2)
	saved, err := c.SaveSequence(1)
	if err != nil {
		f.Fatal(err)
	}
	body := 24 + int(binary.LittleEndian.Uint32(saved[20:]))
	f.Add(uint32(0), []byte{}, uint32(3))
	f.Add(uint32(0), []byte{}, uint32(1<<31))
	for at := uint32(0); at < 64; at += 4 { // the numbers of streams and cells, and the first cells
		for _, x := range []uint32{0, 1, 2, 5, 1 << 8, 1 << 20, 1<<31 - 1, 1<<32 - 1} {
			f.Add(at, binary.LittleEndian.AppendUint32(nil, x), uint32(3))
		}
	}
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, n uint32) {
		data := slices.Clone(saved)
		copy(data[body+int(at)%(len(data)-body):], patch)
		binary.LittleEndian.PutUint32(data[16:], n)
		binary.LittleEndian.PutUint64(data[8:], xxhash.Sum64(data[16:]))
		err := c.RestoreSequence(0, data)
		if err != nil && (!errors.Is(err, llama.ErrState) && !errors.Is(err, llama.ErrContextFull) || !strings.HasSuffix(err.Error(), ")")) {
			t.Error(err)
		}
		got, e := c.Len(0)
		if e != nil || err != nil && got != 0 || err == nil && got != int(n) {
			t.Errorf("%d tokens of %d, %v", got, n, e)
		}
		if err == nil {
			_, err = c.Add(40, int32(got), 0, true, 0)
			if err == nil {
				err = c.Decode() // of other numbers there may be no finite logits
			}
			if err != nil && (strings.Contains(err.Error(), "llama.cpp gave up") || !strings.HasSuffix(err.Error(), ")")) {
				t.Error(err)
			}
		}
		if got, err := c.Len(2); got != 2 || err != nil {
			t.Errorf("the other sequence has %d tokens, %v", got, err)
		}
		if err := c.Drop(0); err != nil {
			t.Fatal(err)
		}
	})
}
