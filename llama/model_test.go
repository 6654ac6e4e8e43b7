package llama_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

func init() { slog.SetLogLoggerLevel(slog.LevelWarn) }

// byteVocabulary is a SentencePiece vocabulary of the 256 bytes and a few words.
func byteVocabulary() []gguf.KV {
	tokens := []string{"<unk>", "<s>", "</s>"}
	types := []int32{2, 3, 3}
	for b := range 256 {
		tokens = append(tokens, fmt.Sprintf("<0x%02X>", b))
		types = append(types, 6)
	}
	for _, w := range []string{"▁", "a", "b", "c", "▁a", "▁b", "ab", "▁ab"} {
		tokens = append(tokens, w)
		types = append(types, 1)
	}
	scores := make([]float32, len(tokens))
	for i := range scores {
		scores[i] = -float32(i)
	}
	return []gguf.KV{
		{Key: "tokenizer.ggml.model", Value: "llama"},
		{Key: "tokenizer.ggml.tokens", Value: tokens},
		{Key: "tokenizer.ggml.scores", Value: scores},
		{Key: "tokenizer.ggml.token_type", Value: types},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)},
	}
}

const (
	testVocab  = 3 + 256 + 8
	testWidth  = 64
	testLayers = 3
)

// randomModel writes a random-weight model of the given architecture (llama or
// qwen2, which adds biases and rotates other pairs) and returns its path. edit, if
// not nil, may change metadata and tensors.
func randomModel(t testing.TB, arch string, seed uint64, edit func([]gguf.KV, []gguf.Tensor) ([]gguf.KV, []gguf.Tensor)) string {
	t.Helper()
	const ff, heads = 128, 4
	rng := rand.New(rand.NewPCG(seed, 1))
	kvs := []gguf.KV{
		{Key: "general.architecture", Value: arch},
		{Key: "general.name", Value: "random"},
		{Key: arch + ".context_length", Value: uint32(256)},
		{Key: arch + ".embedding_length", Value: uint32(testWidth)},
		{Key: arch + ".block_count", Value: uint32(testLayers)},
		{Key: arch + ".feed_forward_length", Value: uint32(ff)},
		{Key: arch + ".attention.head_count", Value: uint32(heads)},
		{Key: arch + ".attention.head_count_kv", Value: uint32(heads)},
		{Key: arch + ".attention.layer_norm_rms_epsilon", Value: float32(1e-5)},
		{Key: arch + ".rope.dimension_count", Value: uint32(testWidth / heads)},
		{Key: arch + ".vocab_size", Value: uint32(testVocab)},
	}
	kvs = append(kvs, byteVocabulary()...)
	var tensors []gguf.Tensor
	add := func(name string, mean, sd float64, shape ...uint64) {
		n := uint64(1)
		for _, d := range shape {
			n *= d
		}
		data := make([]float32, n)
		for i := range data {
			data[i] = float32(mean + sd*rng.NormFloat64())
		}
		tensors = append(tensors, gguf.Tensor{Name: name, Shape: shape, Data: data})
	}
	add("token_embd.weight", 0, 1, testWidth, testVocab)
	add("output_norm.weight", 1, 0.1, testWidth)
	add("output.weight", 0, 0.2, testWidth, testVocab)
	for l := range testLayers {
		p := fmt.Sprintf("blk.%d.", l)
		add(p+"attn_norm.weight", 1, 0.1, testWidth)
		for _, w := range []string{"q", "k", "v", "output"} {
			add(p+"attn_"+w+".weight", 0, 0.12, testWidth, testWidth)
			if arch == "qwen2" && w != "output" {
				add(p+"attn_"+w+".bias", 0, 0.1, testWidth)
			}
		}
		add(p+"ffn_norm.weight", 1, 0.1, testWidth)
		add(p+"ffn_gate.weight", 0, 0.12, testWidth, ff)
		add(p+"ffn_up.weight", 0, 0.12, testWidth, ff)
		add(p+"ffn_down.weight", 0, 0.09, ff, testWidth)
	}
	if edit != nil {
		kvs, tensors = edit(kvs, tensors)
	}
	path := filepath.Join(t.TempDir(), fmt.Sprintf("%s-%d.gguf", arch, seed))
	if err := gguf.Write(path, kvs, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t testing.TB, path string) *llama.Model {
	t.Helper()
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func newContext(t testing.TB, m *llama.Model, p llama.ContextParams) *llama.Context {
	t.Helper()
	if p.Threads == 0 {
		p.Threads = 1
	}
	c, err := m.NewContext(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestLoadDescribes(t *testing.T) {
	for _, arch := range []string{"llama", "qwen2"} {
		m := load(t, randomModel(t, arch, 1, nil))
		info := m.Info()
		if info.Architecture != arch || info.Vocab != testVocab || info.Width != testWidth || info.Layers != testLayers || info.ContextTrain != 256 || !info.HasDecoder || info.Recurrent {
			t.Errorf("%s: info %+v", arch, info)
		}
	}
}

// A model without a tokenizer decodes; what needs texts is an error.
func TestNoTokenizer(t *testing.T) {
	for _, kind := range []string{"none", "no_vocab"} {
		m := load(t, randomModel(t, "llama", 1, func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
			kvs = slices.DeleteFunc(kvs, func(kv gguf.KV) bool { return strings.HasPrefix(kv.Key, "tokenizer.") })
			return append(kvs, gguf.KV{Key: "tokenizer.ggml.model", Value: kind}), ts
		}))
		_, err1 := m.Tokenize("a", false, false)
		_, err2 := m.Piece(5, false)
		_, err3 := m.Detokenize([]int32{5}, false)
		for _, err := range []error{err1, err2, err3} {
			if err == nil || !strings.Contains(err.Error(), "no tokenizer") {
				t.Errorf("%s: got %v", kind, err)
			}
		}
		feed(t, newContext(t, m, llama.ContextParams{}), 0, 0, 1, 2, 3)
	}
}

// A model of which only the vocabulary is loaded tokenizes, and refuses to decode.
func TestVocabOnly(t *testing.T) {
	m, err := llama.Load(randomModel(t, "llama", 1, nil), llama.ModelParams{VocabOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if tokens, err := m.Tokenize("ab", false, false); err != nil || len(tokens) == 0 {
		t.Errorf("tokenized to %v, %v", tokens, err)
	}
	if c, err := m.NewContext(llama.ContextParams{}); err == nil {
		c.Close()
		t.Error("a context without weights")
	}
}

func TestFingerprint(t *testing.T) {
	print := func(seed uint64) string {
		m := load(t, randomModel(t, "llama", seed, nil))
		f, err := m.Fingerprint()
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if first, again := print(1), print(1); first != again {
		t.Error("equal weights, unequal fingerprints")
	}
	if print(1) == print(2) {
		t.Error("unequal weights, equal fingerprints")
	}
}

func TestTokenize(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	for _, text := range []string{"ab", " ab a", "", "zß水🙂\x00\n", strings.Repeat("ab ", 1000)} {
		tokens, err := m.Tokenize(text, false, false)
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Detokenize(tokens, false)
		if err != nil {
			t.Fatal(err)
		}
		// SentencePiece puts a space before the text and takes it off again.
		if strings.TrimPrefix(got, " ") != text && got != text {
			t.Errorf("%q came back as %q", text, got)
		}
		var pieces bytes.Buffer
		for _, tok := range tokens {
			p, err := m.Piece(tok, false)
			if err != nil {
				t.Fatal(err)
			}
			pieces.Write(p)
		}
		if s := pieces.String(); strings.TrimPrefix(s, " ") != text && s != text {
			t.Errorf("%q: pieces join to %q", text, s)
		}
	}
	tokens, _ := m.Tokenize("a", true, false)
	if len(tokens) == 0 || tokens[0] != m.BOS() {
		t.Errorf("special tokens asked for: %v does not start with BOS %d", tokens, m.BOS())
	}
	for _, bad := range []int32{-1, testVocab, math.MaxInt32} {
		if _, err := m.Piece(bad, true); err == nil {
			t.Errorf("Piece(%d) gave no error", bad)
		}
		if _, err := m.Detokenize([]int32{bad}, true); err == nil {
			t.Errorf("Detokenize(%d) gave no error", bad)
		}
		if m.IsEOG(bad) {
			t.Errorf("IsEOG(%d)", bad)
		}
	}
	if !m.IsEOG(2) || m.IsEOG(3) {
		t.Error("only </s> ends a generation")
	}
}

func TestQuantize(t *testing.T) {
	in := randomModel(t, "llama", 1, nil)
	out := filepath.Join(t.TempDir(), "q8.gguf")
	if err := llama.Quantize(in, out, llama.QuantizeParams{Type: "Q8_0", Threads: 1}); err != nil {
		t.Fatal(err)
	}
	m := load(t, out)
	if info := m.Info(); info.Size >= load(t, in).Info().Size/3 {
		t.Errorf("Q8_0 takes %d bytes", info.Size)
	}
	if err := llama.Quantize(in, filepath.Join(t.TempDir(), "x"), llama.QuantizeParams{Type: "Q9_9"}); err == nil {
		t.Error("an unknown type was accepted")
	}
}

func TestLoadErrors(t *testing.T) {
	good, err := os.ReadFile(randomModel(t, "llama", 1, nil))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dropTensor := func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) { return kvs, ts[1:] }
	unknownArch := func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		kvs[0].Value = "perceptron"
		return kvs, ts
	}
	badShape := func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		kvs[5].Value = uint32(96) // feed_forward_length
		return kvs, ts
	}
	aHead := func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		return append(kvs, gguf.KV{Key: "general.type", Value: "ivo.valuehead"}), ts
	}
	notFinite := func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		ts[0].Data[5] = float32(math.NaN())
		return kvs, ts
	}
	for _, c := range []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none.gguf"), "no such file"},
		{"folder", dir, "folder"},
		{"empty", file("empty", nil), "empty"},
		{"text", file("text", []byte("hello, this is no model at all")), "not a GGUF"},
		{"cut in the header", file("cut1", good[:100]), "corrupt"},
		{"cut in the data", file("cut2", good[:len(good)-1000]), "truncated"},
		{"missing tensor", randomModel(t, "llama", 1, dropTensor), "token_embd.weight"},
		{"unknown architecture", randomModel(t, "llama", 1, unknownArch), "perceptron"},
		{"wrong shape", randomModel(t, "llama", 1, badShape), "shape"},
		{"a head", randomModel(t, "llama", 1, aHead), "a head is for"},
		{"NaN weights", randomModel(t, "llama", 1, notFinite), "invalid data"},
	} {
		m, err := llama.Load(c.path, llama.ModelParams{CheckTensors: true})
		if err == nil {
			m.Close()
			t.Errorf("%s: no error", c.name)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q does not say %q", c.name, err, c.want)
		}
	}
}

func TestLoadCancel(t *testing.T) {
	_, err := llama.Load(randomModel(t, "llama", 1, nil), llama.ModelParams{Progress: func(float32) bool { return false }})
	if err == nil || !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("got %v", err)
	}
}

func TestUseAfterClose(t *testing.T) {
	m, err := llama.Load(randomModel(t, "llama", 1, nil), llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.NewContext(llama.ContextParams{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err == nil {
		t.Error("a model with an open context was closed")
	}
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Add(1, 0, 0, true, 0); !errors.Is(err, llama.ErrClosed) {
		t.Errorf("Add: %v", err)
	}
	if err := c.Decode(); !errors.Is(err, llama.ErrClosed) {
		t.Errorf("Decode: %v", err)
	}
	if err := c.Clear(); !errors.Is(err, llama.ErrClosed) {
		t.Errorf("Clear: %v", err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := m.Tokenize("a", true, false); !errors.Is(err, llama.ErrClosed) {
		t.Errorf("Tokenize: %v", err)
	}
	if _, err := m.NewContext(llama.ContextParams{}); !errors.Is(err, llama.ErrClosed) {
		t.Errorf("NewContext: %v", err)
	}
}
