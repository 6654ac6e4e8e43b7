package llama_test

import (
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

// The states of tokens that are kept are those of the same tokens with output, whatever
// else is in the batch and however it is cut into micro-batches.
func TestKept(t *testing.T) {
	m := load(t, randomModel(t, "llama", 3, nil))
	tokens := []int32{10, 20, 30, 40, 50, 60, 70}
	for _, embeddings := range []bool{false, true} {
		p := exact
		p.Layers, p.Sequences, p.Embeddings = []int{1, 0}, 2, embeddings
		c := newContext(t, m, p)
		var want [][]float32
		for i, token := range tokens {
			if _, err := c.Add(token, int32(i), 0, true, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Decode(); err != nil {
			t.Fatal(err)
		}
		for i := range tokens {
			row, err := c.Row(i)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, slices.Clone(row.States))
		}
		if _, err := c.Kept(0); err == nil {
			t.Error("states were kept that nobody asked for")
		}
		for _, ubatch := range []int{512, 3} {
			p.UBatch = ubatch
			only := p
			only.LayersOnly = true
			alone := newContext(t, m, only)
			for half := range 2 { // the second reads what the first left in the cache
				at := half * 4
				for i := at; i < min(at+4, len(tokens)); i++ {
					if _, err := alone.AddKept(tokens[i], int32(i), 0); err != nil {
						t.Fatal(err)
					}
				}
				if err := alone.Decode(); err != nil {
					t.Fatal(err)
				}
				for i := at; i < min(at+4, len(tokens)); i++ {
					got, err := alone.Kept(i - at)
					if err != nil || maxDiff(got, want[i]) > 1e-5 {
						t.Errorf("embeddings %t, micro-batch %d: token %d without the layers above is off by %g, %v", embeddings, ubatch, i, maxDiff(got, want[i]), err)
					}
				}
			}
			if _, err := alone.Add(1, int32(len(tokens)), 0, true, 0); err == nil {
				t.Error("output of a context without the layers above")
			}
			c := newContext(t, m, p)
			kept := 0
			for i, token := range tokens {
				// Sequence 1 has an output early, and is kept after it.
				if i == 2 {
					if _, err := c.Add(token, int32(i), 1, true, 0); err != nil {
						t.Fatal(err)
					}
				} else if k, err := c.AddKept(token, int32(i), 1); err != nil || k != kept {
					t.Fatal(k, err)
				} else {
					kept++
				}
				if _, err := c.Add(token, int32(i), 0, i == len(tokens)-1, 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := c.Decode(); err != nil {
				t.Fatal(err)
			}
			k := 0
			for i := range tokens {
				if i == 2 {
					continue
				}
				got, err := c.Kept(k)
				if err != nil || maxDiff(got, want[i]) > 1e-5 {
					t.Errorf("embeddings %t, micro-batch %d: kept token %d is off by %g, %v", embeddings, ubatch, i, maxDiff(got, want[i]), err)
				}
				k++
			}
			for r, i := range []int{2, len(tokens) - 1} {
				row, err := c.Row(r)
				if err != nil || maxDiff(row.States, want[i]) > 1e-5 {
					t.Errorf("embeddings %t, micro-batch %d: output row %d is off by %g, %v", embeddings, ubatch, r, maxDiff(row.States, want[i]), err)
				}
			}
			if _, err := c.Kept(k); err == nil {
				t.Error("one state too many")
			}
		}
	}
	for _, layers := range [][]int{nil, {0, testLayers - 1}, {testLayers}} {
		c := newContext(t, m, llama.ContextParams{Layers: layers})
		if _, err := c.AddKept(5, 0, 0); err == nil {
			t.Errorf("layers %v: states without logits", layers)
		}
		if _, err := m.NewContext(llama.ContextParams{Layers: layers, LayersOnly: true}); err == nil {
			t.Errorf("layers %v alone", layers)
		}
	}
}
