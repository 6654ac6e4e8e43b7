package llama_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

var exact = llama.ContextParams{Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32}

// feed adds tokens to a sequence and decodes; the last token's row is copied out.
func feed(t testing.TB, c *llama.Context, seq, pos int32, tokens ...int32) (logits, states []float32) {
	t.Helper()
	for i, tok := range tokens {
		if _, err := c.Add(tok, pos+int32(i), seq, i == len(tokens)-1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Decode(); err != nil {
		t.Fatal(err)
	}
	r, err := c.Row(0)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(r.Logits), slices.Clone(r.States)
}

func maxDiff(a, b []float32) float64 {
	d := 0.0
	for i := range a {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}

// Forked sequences, trimmed sequences and other company in the batch give what a
// fresh evaluation of the same tokens gives.
func TestSequences(t *testing.T) {
	for _, arch := range []string{"llama", "qwen2"} {
		m := load(t, randomModel(t, arch, 3, nil))
		p := exact
		p.Sequences = 4
		want, _ := feed(t, newContext(t, m, p), 0, 0, 1, 10, 20, 30, 40, 50)

		c := newContext(t, m, p)
		feed(t, c, 0, 0, 1, 10, 20, 30)
		for _, err := range []error{c.Fork(0, 1), c.Fork(0, 2)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		feed(t, c, 1, 4, 99, 98, 97) // goes another way
		if got, _ := feed(t, c, 2, 4, 40, 50); maxDiff(got, want) > 1e-4 {
			t.Errorf("%s: forked: off by %g", arch, maxDiff(got, want))
		}
		if err := c.Trim(1, 4); err != nil {
			t.Fatal(err)
		}
		if got, _ := feed(t, c, 1, 4, 40, 50); maxDiff(got, want) > 1e-4 {
			t.Errorf("%s: trimmed: off by %g", arch, maxDiff(got, want))
		}
		// Fork onto a sequence that holds something replaces it.
		if err := c.Fork(0, 2); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Len(2); n != 4 || err != nil {
			t.Errorf("%s: length after fork %d, %v", arch, n, err)
		}
		if err := c.Drop(2); err != nil {
			t.Fatal(err)
		}
		if n, _ := c.Len(2); n != 0 {
			t.Errorf("%s: length after drop %d", arch, n)
		}
		if err := c.Clear(); err != nil {
			t.Fatal(err)
		}
		if got, _ := feed(t, c, 3, 0, 1, 10, 20, 30, 40, 50); maxDiff(got, want) > 1e-4 {
			t.Errorf("%s: cleared: off by %g", arch, maxDiff(got, want))
		}
	}
}

// The tapped states do not depend on which layers are tapped together, on how many
// micro-batches a decode takes, or on which rows are outputs; the state after the
// final norm is llama.cpp's embedding, and its product with the output matrix is
// the row of logits.
func TestStates(t *testing.T) {
	m := load(t, randomModel(t, "llama", 5, nil))
	out, err := m.Metadata().ReadF32("output.weight")
	if err != nil {
		t.Fatal(err)
	}
	tokens := []int32{1, 10, 20, 30, 40, 50, 60}
	want := make(map[int][][]float32) // layer -> position -> state
	for _, layers := range [][]int{{0}, {1}, {2}, {3}, {2, 0, 3, 1}} {
		for _, ubatch := range []int{512, 3} {
			for _, every := range []int{1, 2, 3} { // every nth token is an output
				p := exact
				p.Layers, p.UBatch = layers, ubatch
				c := newContext(t, m, p)
				for i, tok := range tokens {
					if _, err := c.Add(tok, int32(i), 0, i%every == 0, 0); err != nil {
						t.Fatal(err)
					}
				}
				if err := c.Decode(); err != nil {
					t.Fatal(err)
				}
				for r := range c.Rows() {
					row, err := c.Row(r)
					if err != nil {
						t.Fatal(err)
					}
					for i, l := range layers {
						h := row.States[i*testWidth : (i+1)*testWidth]
						if want[l] == nil {
							want[l] = make([][]float32, len(tokens))
						}
						at := r * every
						if want[l][at] == nil {
							want[l][at] = slices.Clone(h)
						} else if d := maxDiff(h, want[l][at]); d > 1e-4 {
							t.Errorf("layers %v, micro-batch %d, every %d: layer %d at %d off by %g", layers, ubatch, every, l, at, d)
						}
						if l != testLayers {
							continue
						}
						if d := maxDiff(h, row.Hidden); d != 0 {
							t.Errorf("final state and embedding differ by %g", d)
						}
						for y := range testVocab {
							dot := 0.0
							for k := range testWidth {
								dot += float64(out[y*testWidth+k]) * float64(h[k])
							}
							if math.Abs(dot-float64(row.Logits[y])) > 1e-4 {
								t.Fatalf("logit %d is %g, not %g", y, row.Logits[y], dot)
							}
						}
					}
				}
			}
		}
	}
}

func TestRowStatistics(t *testing.T) {
	m := load(t, randomModel(t, "llama", 7, nil))
	for _, top := range []int{1, 3, 20, 100, testVocab} { // groups of 16, of several, of one
		testRowStatistics(t, newContext(t, m, llama.ContextParams{Top: top}), top)
	}
}

func testRowStatistics(t *testing.T, c *llama.Context, top int) {
	const temp = 0.7
	for i, tok := range []int32{1, 9, 7} {
		if _, err := c.Add(tok, int32(i), 0, i > 0, temp); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Decode(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		r, err := c.Row(i)
		if err != nil {
			t.Fatal(err)
		}
		var z, zt, h float64
		for _, l := range r.Logits {
			z += math.Exp(float64(l))
			zt += math.Exp(float64(l) / temp)
		}
		for _, l := range r.Logits {
			p := math.Exp(float64(l)) / z
			h -= p * math.Log(p)
		}
		for _, v := range []struct {
			name      string
			got, want float64
		}{{"lse", float64(r.LSE), math.Log(z)}, {"lse at T", float64(r.LSET), math.Log(zt)}, {"entropy", float64(r.Entropy), h}} {
			if math.Abs(v.got-v.want) > 2e-6*math.Max(1, math.Abs(v.want)) {
				t.Errorf("row %d: %s is %.8g, not %.8g", i, v.name, v.got, v.want)
			}
		}
		ids := make([]int32, len(r.Logits))
		for k := range ids {
			ids[k] = int32(k)
		}
		slices.SortStableFunc(ids, func(a, b int32) int {
			switch la, lb := r.Logits[a], r.Logits[b]; {
			case la > lb:
				return -1
			case la < lb:
				return 1
			}
			return 0
		})
		if !slices.Equal(r.Top, ids[:top]) {
			t.Errorf("row %d: top %v, want %v", i, r.Top, ids[:top])
		}
		for k, id := range r.Top {
			if r.TopLogits[k] != r.Logits[id] {
				t.Errorf("row %d: logit of %d is %g, not %g", i, id, r.TopLogits[k], r.Logits[id])
			}
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	c := newContext(t, m, llama.ContextParams{Batch: 8, Sequences: 2})
	add := func(token, pos, seq int32) error {
		_, err := c.Add(token, pos, seq, true, 0)
		return err
	}
	for _, bad := range []struct {
		err  error
		want string
	}{
		{add(-1, 0, 0), "token -1"},
		{add(testVocab, 0, 0), "token"},
		{add(1, -1, 0), "position"},
		{add(1, 0, 2), "sequence 2"},
		{add(1, 0, -1), "sequence -1"},
		{c.Decode(), "empty"},
		{c.Fork(0, 2), "sequence 2"},
		{c.Fork(-1, 0), "sequence -1"},
		{c.Trim(0, -1), "position"},
		{c.Drop(5), "sequence 5"},
	} {
		if bad.err == nil || !strings.Contains(bad.err.Error(), bad.want) {
			t.Errorf("got %v, want an error about %q", bad.err, bad.want)
		}
	}
	if _, err := c.Row(0); err == nil {
		t.Error("a row before the first decode")
	}
	// A gap in the positions is refused and the context stays usable.
	if err := add(1, 5, 0); err != nil {
		t.Fatal(err)
	}
	if add(1, 9, 0); c.Decode() == nil {
		t.Error("a gap in the positions was decoded")
	}
	c.Clear()
	for i := range int32(8) {
		if err := add(1, i, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := add(1, 8, 0); err == nil {
		t.Error("a ninth token in a batch of 8")
	}
	if err := c.Decode(); err != nil {
		t.Fatal(err)
	}
	// The cache fills up; the full cache is an error, and what it holds stays valid.
	var err error
	n := int32(8)
	for ; n < 300; n++ {
		if err = add(1, n, 0); err != nil {
			t.Fatal(err)
		}
		if err = c.Decode(); err != nil {
			break
		}
	}
	if !errors.Is(err, llama.ErrContextFull) || n != 256 {
		t.Errorf("after %d tokens: %v", n, err)
	}
	if k, _ := c.Len(0); k != 256 {
		t.Errorf("the full cache holds %d tokens", k)
	}
	if err := c.Trim(0, 100); err != nil {
		t.Fatal(err)
	}
	feed(t, c, 0, 100, 3)

	c.Abort(true)
	add(1, 0, 1)
	if err := c.Decode(); !errors.Is(err, llama.ErrAborted) {
		t.Errorf("aborted: %v", err)
	}
	c.Abort(false)
}

func TestContextParams(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	for _, p := range []llama.ContextParams{
		{Ctx: -1}, {Ctx: 1 << 30}, {Batch: -1}, {Sequences: -1}, {Sequences: 257}, {Threads: -1}, {Threads: 100000},
		{Layers: []int{4}}, {Layers: []int{-1}}, {Layers: []int{1, 1}}, {Layers: []int{1}, Streams: true}, {Top: -1},
		{CacheV: llama.CacheQ8_0, Flash: llama.FlashOff}, {CacheK: 99}, {CacheV: -7}, {Flash: 9}, {Flash: -1},
		{CacheK: llama.CacheQ8_0, Flash: llama.FlashOff}, // heads of 16
	} {
		if c, err := m.NewContext(p); err == nil {
			c.Close()
			t.Errorf("%+v was accepted", p)
		}
	}
}

// Two goroutines in one context are told so, and neither crashes.
func TestBusy(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	c := newContext(t, m, llama.ContextParams{Ctx: 4096, Batch: 2048})
	for i := range int32(2000) {
		if _, err := c.Add(1, i, 0, false, 0); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	go func() {
		err := c.Decode()
		for errors.Is(err, llama.ErrBusy) { // Len below came first
			err = c.Decode()
		}
		done <- err
	}()
	busy := false
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			if !busy {
				t.Skip("the decode was over before the second call")
			}
			return
		default:
			if _, err := c.Len(0); errors.Is(err, llama.ErrBusy) {
				busy = true
			}
		}
	}
}

// NaN anywhere among the logits is an error, leaves no rows, and does not spoil what
// comes after. Here the NaN is in the output matrix, so one logit of each row has it.
func TestNotFinite(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		i := slices.IndexFunc(ts, func(t gguf.Tensor) bool { return t.Name == "output.weight" })
		ts[i].Data[9*testWidth] = float32(math.NaN())
		return kvs, ts
	}))
	c := newContext(t, m, llama.ContextParams{Top: 10})
	for i := range int32(3) {
		if _, err := c.Add(1, i, 0, true, 0); err != nil {
			t.Fatal(err)
		}
		if err := c.Decode(); !errors.Is(err, llama.ErrNotFinite) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Row(0); err == nil {
			t.Error("a row of a failed decode")
		}
	}
}

func TestBareLoop(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	c := newContext(t, m, llama.ContextParams{Sequences: 2})
	feed(t, c, 0, 0, 1, 2)
	if err := c.Fork(0, 1); err != nil {
		t.Fatal(err)
	}
	if err := c.BareLoop([]int32{3, 4, 5, 6}, 2, 2); err != nil {
		t.Fatal(err)
	}
	if n, _ := c.Len(1); n != 4 || c.Rows() != 0 {
		t.Errorf("%d tokens, %d rows", n, c.Rows())
	}
	for _, err := range []error{
		c.BareLoop([]int32{1, 2, 3}, 2, 4), c.BareLoop(nil, 1, 4), c.BareLoop([]int32{testVocab}, 1, 4), c.BareLoop([]int32{1, 1, 1}, 3, 4),
		newContext(t, m, llama.ContextParams{Layers: []int{1}}).BareLoop([]int32{1}, 1, 0),
	} {
		if err == nil {
			t.Error("a bad bare loop ran")
		}
	}
}

// At a temperature near 0 the sampler chain takes what is likeliest, as the rows say it.
func TestBareSampling(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	bare, rows := newContext(t, m, llama.ContextParams{Sequences: 2}), newContext(t, m, llama.ContextParams{Sequences: 2, Top: 1})
	const steps = 3
	got, want := []int32{1, 2}, []int32{1, 2}
	if err := bare.BareSampling(got, 0, steps, 1e-6, 1); err != nil {
		t.Fatal(err)
	}
	for step := range steps {
		for seq, token := range want {
			if _, err := rows.Add(token, int32(step), int32(seq), true, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := rows.Decode(); err != nil {
			t.Fatal(err)
		}
		for seq := range want {
			row, err := rows.Row(seq)
			if err != nil {
				t.Fatal(err)
			}
			want[seq] = row.Top[0]
		}
	}
	if n, _ := bare.Len(1); n != steps || !slices.Equal(got, want) {
		t.Errorf("%d tokens, then %d, want %d", n, got, want)
	}
	for _, err := range []error{
		bare.BareSampling(nil, 3, 1, 1, 1), bare.BareSampling(got, 3, 0, 1, 1), bare.BareSampling(got, 3, 1, 0, 1), bare.BareSampling([]int32{1, 1, 1}, 3, 1, 1, 1),
		bare.BareSampling([]int32{1, testVocab}, 3, 1, 1, 1),
	} {
		if err == nil {
			t.Error("bad bare sampling ran")
		}
	}
}

// A batch has room for a token of every sequence.
func TestSmallBatch(t *testing.T) {
	c := newContext(t, load(t, randomModel(t, "llama", 1, nil)), llama.ContextParams{Ctx: 64, Batch: 4, Sequences: 24})
	for seq := range int32(24) {
		feed(t, c, seq, 0, 1, 2)
	}
	if n := c.Params().Batch; n != 24 {
		t.Errorf("a batch of %d, want 24", n)
	}
}
