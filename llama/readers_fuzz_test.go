package llama_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

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
