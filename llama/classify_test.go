package llama_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/testclassifier"
	"github.com/ivo-decoding/ivo/llama"
)

func loadFile(t *testing.T, path string) *llama.Model {
	t.Helper()
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// textsOf are some of all lengths, more than are computed at once.
func textsOf(vocabulary, longest int) (out [][]int32) {
	rng := rand.New(rand.NewPCG(9, uint64(vocabulary)))
	for i := range 11 {
		text := make([]int32, 1+i*(longest-1)/10)
		for k := range text {
			text[k] = int32(rng.IntN(vocabulary))
		}
		out = append(out, text)
	}
	return out
}

// The scores are those of BERT in plain Go, whatever else is computed with a text.
func TestClassifyBERT(t *testing.T) {
	for _, labels := range [][]string{nil, {"bad", "good"}, {"a", "b", "c"}} {
		for _, dense := range []bool{false, true} {
			t.Run(fmt.Sprint(labels, dense), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "bert.gguf")
				want, err := testclassifier.BERT(path, labels, dense, 2)
				if err != nil {
					t.Fatal(err)
				}
				m := loadFile(t, path)
				c, err := m.NewClassifier(llama.ClassifierParams{Texts: 3, Threads: 1})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got := strings.Join(c.Labels(), " "); got != strings.Join(labels, " ") || c.Softmax() || c.Params().Tokens != testclassifier.Context {
					t.Errorf("labels %q, %+v", got, c.Params())
				}
				all := textsOf(m.Info().Vocab, testclassifier.Context)
				got, err := c.Classify(all)
				if err != nil || len(got) != len(all) {
					t.Fatal(len(got), err)
				}
				for i, text := range all {
					for k, w := range want(text) {
						if !(math.Abs(float64(got[i][k])-w) < 0.02) { // ggml's gelu is a table of F16
							t.Errorf("text %d, class %d: got %v, want %v", i, k, got[i][k], w)
						}
					}
				}
				if err := m.Close(); err == nil {
					t.Error("the model was closed under its classifier")
				}
				for _, bad := range [][]int32{nil, {-1}, {int32(m.Info().Vocab)}, make([]int32, testclassifier.Context+1)} {
					if _, err := c.Classify([][]int32{all[0], bad}); err == nil {
						t.Errorf("a text of %d tokens was taken", len(bad))
					}
				}
				if none, err := c.Classify(nil); len(none) != 0 || err != nil {
					t.Error(none, err)
				}
				for range 2 {
					if err := c.Close(); err != nil {
						t.Error(err)
					}
				}
				if _, err := c.Classify(all); !errors.Is(err, llama.ErrClosed) {
					t.Errorf("a closed classifier: %v", err)
				}
			})
		}
	}
}

// Those of Qwen3 are a softmax of its head on the state that the same model without the head has after
// the text.
func TestClassifyQwen3(t *testing.T) {
	dir := t.TempDir()
	path, trunk := filepath.Join(dir, "reranker.gguf"), filepath.Join(dir, "trunk.gguf")
	head, err := testclassifier.Qwen3(path, trunk, "../testdata/lab/summarize-s.gguf", []string{"yes", "no"})
	if err != nil {
		t.Fatal(err)
	}
	m, of := loadFile(t, path), loadFile(t, trunk)
	c, err := m.NewClassifier(llama.ClassifierParams{Texts: 4, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	alone, err := of.NewContext(llama.ContextParams{Ctx: 128, Threads: 1, Embeddings: true, Flash: llama.FlashOff})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	all := textsOf(m.Info().Vocab, 100)
	got, err := c.Classify(all)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range all {
		if err := alone.Clear(); err != nil {
			t.Fatal(err)
		}
		for pos, token := range text {
			if _, err := alone.Add(token, int32(pos), 0, pos == len(text)-1, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := alone.Decode(); err != nil {
			t.Fatal(err)
		}
		row, err := alone.Row(0)
		if err != nil {
			t.Fatal(err)
		}
		var logit [2]float64
		for k := range head {
			for j, w := range head[k] {
				logit[k] += float64(w) * float64(row.Hidden[j])
			}
		}
		want := 1 / (1 + math.Exp(logit[1]-logit[0]))
		if !(math.Abs(float64(got[i][0])-want) < 1e-2) || !(math.Abs(float64(got[i][0]+got[i][1])-1) < 1e-5) {
			t.Errorf("text %d: got %v, want %v", i, got[i], want)
		}
	}
}

// What llama.cpp would compute nonsense of is refused with the reason.
func TestNewClassifierRefuses(t *testing.T) {
	dir := t.TempDir()
	one := filepath.Join(dir, "one.gguf")
	if _, err := testclassifier.Qwen3(one, filepath.Join(dir, "trunk.gguf"), "../testdata/lab/summarize-s.gguf", nil); err != nil {
		t.Fatal(err)
	}
	bert := filepath.Join(dir, "bert.gguf")
	if _, err := testclassifier.BERT(bert, []string{"a", "b"}, true, 1); err != nil {
		t.Fatal(err)
	}
	// Of a head that is only the layer before the outputs, llama.cpp reads its first number.
	f, err := gguf.ReadModel(bert)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []gguf.Tensor
	for _, info := range f.Tensors {
		if strings.HasPrefix(info.Name, "cls.output") {
			continue
		}
		data, err := f.ReadF32(info.Name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, gguf.Tensor{Name: info.Name, Shape: info.Shape, Data: data})
	}
	half := filepath.Join(dir, "half.gguf")
	if err := gguf.Write(half, f.KVs, tensors); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		one:                                "it is 1 for every text (import its head with ivo reward import",
		filepath.Join(dir, "trunk.gguf"):   "has no classifier head",
		"../testdata/lab/summarize-s.gguf": "has no classifier head",
		half:                               `names 2 classes, its head "cls.weight" has 32 outputs`,
	} {
		if _, err := loadFile(t, path).NewClassifier(llama.ClassifierParams{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
	m := loadFile(t, bert)
	for _, p := range []llama.ClassifierParams{{Tokens: -1}, {Texts: -1}, {Texts: 300}, {Threads: -1}, {Threads: 1 << 20}} {
		if c, err := m.NewClassifier(p); err == nil {
			c.Close()
			t.Errorf("%+v was taken", p)
		}
	}
}
