package train_test

import (
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
)

// valueDocs are responses of random tokens whose return is the share of even ones; the
// prompt is their number.
func valueDocs(n int, vocab int, seed uint64) (docs []train.ValueDoc) {
	r := rand.New(rand.NewPCG(seed, 7))
	for range n {
		length := 5 + r.IntN(10)
		d := train.ValueDoc{Tokens: []int32{1, int32(length)}, From: 2}
		for range length {
			token := int32(r.IntN(vocab))
			d.Tokens = append(d.Tokens, token)
			if token%2 == 0 {
				d.Return += 1 / float32(length)
			}
		}
		docs = append(docs, d)
	}
	return docs
}

// A fine-tuned value model explains returns that depend on the tokens, the better the more
// of the response it has seen, and llama.cpp computes the same values from its file.
func TestValueModel(t *testing.T) {
	cfg := train.Config{Vocab: 40, Width: 64, Layers: 2, Heads: 4, FF: 96, Context: 40, Theta: 100}
	base, err := train.Run(t.Context(), cfg, train.Options{Steps: 1}, stepDocs(10, cfg, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	docs, held := valueDocs(3000, cfg.Vocab, 1), valueDocs(80, cfg.Vocab, 2)
	atoms := train.Atoms(docs, 11)
	m, err := train.TrainValue(t.Context(), base, atoms, train.Options{Steps: 300, LR: 4e-3}, docs, held)
	if err != nil {
		t.Fatal(err)
	}
	values, err := m.Values(t.Context(), held, 0)
	if err != nil {
		t.Fatal(err)
	}
	var mean, total, first, last float64
	for _, d := range held {
		mean += float64(d.Return) / float64(len(held))
	}
	for i, d := range held {
		r := float64(d.Return)
		total += (r - mean) * (r - mean)
		first += math.Pow(r-float64(values[i][0]), 2)
		last += math.Pow(r-float64(values[i][len(values[i])-1]), 2)
	}
	if r2 := 1 - last/total; r2 < 0.6 || last > 0.6*first {
		t.Errorf("explained at the end %.2f, at the start %.2f", r2, 1-first/total)
	}

	path := filepath.Join(t.TempDir(), "value.gguf")
	if err := m.WriteGGUF(path, nil); err != nil {
		t.Fatal(err)
	}
	l, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	stored, _ := l.Metadata().Value(train.AtomsKey).([]float32)
	if len(stored) != len(atoms) {
		t.Fatalf("the file holds %d atoms", len(stored))
	}
	c, err := l.NewContext(llama.ContextParams{Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, token := range held[0].Tokens {
		if _, err := c.Add(token, int32(i), 0, i >= held[0].From, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Decode(); err != nil {
		t.Fatal(err)
	}
	for k, want := range values[0] {
		row, err := c.Row(k)
		if err != nil {
			t.Fatal(err)
		}
		var sum, value float64
		for a, atom := range stored {
			p := math.Exp(float64(row.Logits[a]))
			sum += p
			value += p * float64(atom)
		}
		if got := value / sum; math.Abs(got-float64(want)) > 1e-4 {
			t.Errorf("state %d: value %.6f in llama.cpp, %.6f in training", k, got, want)
		}
	}

	// What was written is read back, to be trained on.
	f, err := gguf.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := train.Read(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c := again.Config; c.Vocab != cfg.Vocab || c.Layers != cfg.Layers || c.Theta != cfg.Theta || c.Tied {
		t.Errorf("read back %+v", c)
	}
	// Its first outputs are the atoms: the weights are the same to the last bit.
	second := filepath.Join(t.TempDir(), "again.gguf")
	if err := again.WriteGGUF(second, nil); err != nil {
		t.Fatal(err)
	}
	g, err := gguf.Read(second)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range f.Tensors {
		a, err1 := f.ReadF32(info.Name)
		b, err2 := g.ReadF32(info.Name)
		if err1 != nil || err2 != nil || !slices.Equal(a, b) {
			t.Errorf("%s differs when read and written again: %v, %v", info.Name, err1, err2)
		}
	}
}

// What cannot be trained is named, and refused before any weight is read.
func TestReadRefuses(t *testing.T) {
	set := func(key string, value any) func(*gguf.File) {
		return func(f *gguf.File) {
			f.KVs = append(slices.DeleteFunc(f.KVs, func(kv gguf.KV) bool { return kv.Key == key }), gguf.KV{Key: key, Value: value})
		}
	}
	tensor := func(name string) func(*gguf.File) {
		return func(f *gguf.File) { f.Tensors = append(f.Tensors, gguf.TensorInfo{Name: name, Shape: []uint64{8}}) }
	}
	const q8 = 8
	for _, test := range []struct {
		name string
		edit func(*gguf.File)
		want string
	}{
		{"another architecture", set("general.architecture", "qwen3"), `the architecture is "qwen3"`},
		{"no width", set("llama.embedding_length", "wide"), "set vocab, width"},
		{"too many layers", set("llama.block_count", uint32(1<<31)), "2147483648 layers"},
		{"a negative number of layers", set("llama.block_count", int32(-4)), "at least 1"},
		{"an odd number of key heads", set("llama.attention.head_count_kv", uint32(3)), "do not share the keys and values of 3"},
		{"fewer key heads than stored", set("llama.attention.head_count_kv", uint32(1)), "blk.0.attn_k.weight is of shape [8 8], not [8 4]"},
		{"another head size", set("llama.attention.key_length", uint32(8)), "attention.key_length is 8, not the 4"},
		{"rotated in part", set("llama.rope.dimension_count", uint32(2)), "rope.dimension_count is 2, not the 4"},
		{"experts", set("llama.expert_count", uint32(4)), "a mixture of 4 experts"},
		{"scaled", set("llama.rope.scaling.type", "yarn"), "positions are scaled (yarn)"},
		{"scaled by factors", tensor("rope_freqs.weight"), "positions are scaled (rope_freqs.weight)"},
		{"linearly scaled", set("llama.rope.scale_linear", float32(2)), "positions are scaled (by 2)"},
		{"biases", tensor("blk.0.attn_q.bias"), "it has biases (blk.0.attn_q.bias)"},
		{"another tensor", tensor("cls.weight"), "it has a tensor cls.weight"},
		{"a tensor is missing", func(f *gguf.File) { f.Tensors = f.Tensors[1:] }, "at least 1"},
		{"a layer is missing", func(f *gguf.File) { f.Tensors = slices.Delete(f.Tensors, 3, 4) }, "it has no tensor blk.0.attn_k.weight"},
		{"quantized, and nobody to read it", func(f *gguf.File) { f.Tensors[0].Type = q8 }, "token_embd.weight"},
	} {
		cfg := train.Config{Vocab: 8, Width: 8, Layers: 1, Heads: 2, FF: 8, Context: 8}
		m, err := train.New(cfg, 1)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		if err := m.WriteGGUF(path, nil); err != nil {
			t.Fatal(err)
		}
		f, err := gguf.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		test.edit(f)
		if _, err := train.Read(f, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want an error about %q", test.name, err, test.want)
		}
	}
}
