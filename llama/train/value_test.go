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
	again, err := train.Read(f)
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

func TestReadRefuses(t *testing.T) {
	without := func(key string) func(*gguf.File) {
		return func(f *gguf.File) {
			f.KVs = slices.DeleteFunc(f.KVs, func(kv gguf.KV) bool { return kv.Key == key })
		}
	}
	const q8 = 8
	for _, test := range []struct {
		name string
		edit func(*gguf.File)
	}{
		{"another architecture", without("general.architecture")},
		{"no width", without("llama.embedding_length")},
		{"quantized", func(f *gguf.File) { f.Tensors[0].Type = q8 }},
	} {
		cfg := train.Config{Vocab: 8, Width: 8, Layers: 1, Heads: 1, FF: 8, Context: 8}
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
		if _, err := train.Read(f); err == nil || !strings.Contains(err.Error(), "only F32 and F16 models of the plain llama architecture") {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}
