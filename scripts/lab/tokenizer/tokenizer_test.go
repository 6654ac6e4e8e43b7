package tokenizer_test

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/scripts/lab/tokenizer"
	"github.com/ivo-decoding/ivo/scripts/lab/world"
	"pgregory.net/rapid"
)

const size = 1024

// corpus is the world's text: a few thousand documents hold every word.
func corpus(n int) []string {
	var texts []string
	for doc := range world.Documents(world.Summarize{}, world.Train, 1) {
		if texts = append(texts, doc.Text()); len(texts) == n {
			break
		}
	}
	return texts
}

// load opens the vocabulary in llama.cpp, as that of the smallest model there is.
func load(t *testing.T, kvs []gguf.KV) *llama.Model {
	t.Helper()
	tiny, err := train.New(train.Config{Vocab: size, Width: 2, Layers: 1, Heads: 1, FF: 1, Context: 1, Tied: true}, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "vocab.gguf")
	if err := tiny.WriteGGUF(path, kvs); err != nil {
		t.Fatal(err)
	}
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func TestVocabulary(t *testing.T) {
	texts := corpus(3000)
	kvs, err := tokenizer.Train(slices.Values(texts), size)
	if err != nil {
		t.Fatal(err)
	}
	again, err := tokenizer.Train(slices.Values(texts), size)
	if err != nil || !reflect.DeepEqual(kvs, again) {
		t.Errorf("the same corpus gave two vocabularies (%v)", err)
	}
	m := load(t, kvs)
	if m.Info().Vocab != size {
		t.Fatalf("llama.cpp reads %d tokens, want %d", m.Info().Vocab, size)
	}
	if !m.AddBOS() || m.BOS() != 1 || m.EOS() != 2 || !m.IsEOG(tokenizer.Newline) || !m.IsEOG(m.EOS()) {
		t.Errorf("special tokens: add %v, BOS %d, EOS %d, newline ends %v", m.AddBOS(), m.BOS(), m.EOS(), m.IsEOG(tokenizer.Newline))
	}
	got, err := m.Tokenize("a\n\nb", false, false)
	if err != nil || len(got) != 4 || got[1] != tokenizer.Newline || got[2] != tokenizer.Newline {
		t.Errorf("line breaks are tokenized as %v, %v", got, err)
	}
	words, tokens := 0, 0
	for _, text := range texts[:300] {
		ids, err := m.Tokenize(text, false, false)
		if err != nil {
			t.Fatal(err)
		}
		tokens += len(ids)
		words += len(strings.Fields(text)) + strings.Count(text, ".") + strings.Count(text, ",") + strings.Count(text, ":") + strings.Count(text, "\n")
	}
	if ratio := float64(tokens) / float64(words); ratio > 1.1 {
		t.Errorf("%.2f tokens for each word or sign of the corpus, want at most 1.1", ratio)
	}
}

func TestRoundTrip(t *testing.T) {
	kvs, err := tokenizer.Train(slices.Values(corpus(3000)), size)
	if err != nil {
		t.Fatal(err)
	}
	m := load(t, kvs)
	check := func(t interface{ Fatalf(string, ...any) }, text string) {
		ids, err := m.Tokenize(text, false, false)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		back, err := m.Detokenize(ids, false)
		if err != nil || back != text {
			t.Fatalf("%q came back as %q (%v, %v)", text, back, ids, err)
		}
	}
	for _, text := range append(corpus(100), "", " ", "  a  b ", "\n", "<s></s><0x0A><unk>", "Grüße, 世界! 🙂\t\r\n", "\x00") {
		check(t, text)
	}
	rapid.Check(t, func(t *rapid.T) {
		// U+2581 is SentencePiece's own sign for the space.
		text := rapid.String().Filter(func(s string) bool { return !strings.ContainsRune(s, '▁') }).Draw(t, "text")
		check(t, text)
	})
}

func TestTrainErrors(t *testing.T) {
	for size, want := range map[int]string{100: "at least", 100000: "at most"} {
		_, err := tokenizer.Train(slices.Values([]string{"some text"}), size)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d tokens: got error %v, want %q", size, err, want)
		}
	}
}
