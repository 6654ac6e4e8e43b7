package llama_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

// Whatever a file of a control vector holds, it is refused with a word on what to do, or has directions of one width.
func FuzzControlVector(f *testing.F) {
	path := filepath.Join(f.TempDir(), "vector.gguf")
	for _, names := range [][]string{{"direction.1", "direction.2"}, {"direction.0"}, {"direction.99999999999"}, {"direction.1", "direction.01"}} {
		var tensors []gguf.Tensor
		for _, name := range names {
			tensors = append(tensors, gguf.Tensor{Name: name, Shape: []uint64{3}, Data: []float32{1, 2, 3}})
		}
		if err := gguf.Write(path, []gguf.KV{{Key: "general.architecture", Value: "controlvector"}}, tensors); err != nil {
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
		v, err := llama.ReadControlVector(path)
		if err != nil {
			if !strings.HasSuffix(err.Error(), ")") {
				t.Errorf("nothing to do about it: %v", err)
			}
			return
		}
		for _, d := range v.Directions {
			if d != nil && len(d) != v.Width || v.Width == 0 {
				t.Errorf("%d numbers, the vector has %d", len(d), v.Width)
			}
		}
	})
}

// Whatever text there is becomes tokens of the vocabulary, and these the text again; but of bytes that are no UTF-8
// llama.cpp takes one together with what follows it, so that a space comes back as the sign that it has for one.
func FuzzTokenize(f *testing.F) {
	for _, text := range []string{"", "i found a red lamp.\n", "\x00", "\xff\xfe\x80", "a\u0301 \u200d👩‍👩‍👧 \U0010ffff", "<s></s><unk>", strings.Repeat(" ", 300), "<0x0A>"} {
		f.Add(text, true)
		f.Add(text, false)
	}
	m := load(f, "../testdata/lab/summarize-s.gguf")
	vocab := int32(m.Info().Vocab)
	f.Fuzz(func(t *testing.T, text string, special bool) {
		tokens, err := m.Tokenize(text, false, special)
		if err != nil {
			return
		}
		var back strings.Builder
		for _, token := range tokens {
			if token < 0 || token >= vocab {
				t.Fatalf("%q has the token %d of %d", text, token, vocab)
			}
			piece, err := m.Piece(token, true)
			if err != nil {
				t.Fatal(err)
			}
			back.Write(piece)
		}
		if got := back.String(); !special && utf8.ValidString(text) && got != text && got != " "+text {
			t.Errorf("%q comes back as %q", text, got)
		}
	})
}

// Whatever JSON there is, it is no message, or one that is the same when it is written and read again.
func FuzzMessage(f *testing.F) {
	for _, text := range []string{
		`{"role":"user","content":"a"}`, `{"role":"assistant","content":null,"tool_calls":[{"id":1}]}`, `{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url"},{"text":"b"}]}`,
		`{"role":"\ud800","content":"a","role":"b"}`, `{"role":1}`, `[]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var m, again llama.Message
		if json.Unmarshal(data, &m) != nil {
			return
		}
		text, err := json.Marshal(m)
		if err == nil {
			err = json.Unmarshal(text, &again)
		}
		if other, err2 := json.Marshal(again); err != nil || err2 != nil || string(other) != string(text) {
			t.Errorf("%s became %s: %v, %v", text, other, err, err2)
		}
	})
}

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
