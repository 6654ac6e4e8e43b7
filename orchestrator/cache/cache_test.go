package cache

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

// text is an owner.
type text struct {
	tokens []int32
	dead   bool
}

func (t *text) Gone() bool { return t.dead }

// Whatever is asked for, in whatever order and with little room, the rows are those of a
// context that has read the tokens alone, and the cells are counted right.
func TestCache(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	open := func(sequences, batch int) *llama.Context {
		c, err := m.NewContext(llama.ContextParams{
			Ctx: 256, Batch: batch, Sequences: sequences, Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32,
			Layers: []int{2},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	alone := open(1, 256)
	oracle := func(tokens []int32) (logits, states []float32) {
		if err := alone.Clear(); err != nil {
			t.Fatal(err)
		}
		for i, token := range tokens {
			if _, err := alone.Add(token, int32(i), 0, true, 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := alone.Decode(); err != nil {
			t.Fatal(err)
		}
		for i := range tokens {
			row, err := alone.Row(i)
			if err != nil {
				t.Fatal(err)
			}
			logits, states = append(logits, row.Logits[:8]...), append(states, row.States...)
		}
		return logits, states
	}
	near := func(what string, got, want []float32) {
		t.Helper()
		for i := range want {
			if len(got) != len(want) || math.Abs(float64(got[i]-want[i])) > 1e-3 {
				t.Fatalf("%s: %d numbers, want %d; number %d differs", what, len(got), len(want), i)
			}
		}
	}
	for _, room := range []struct{ sequences, batch int }{{1, 64}, {4, 16}, {24, 256}} {
		rng := rand.New(rand.NewPCG(5, uint64(room.sequences)))
		s := New(open(room.sequences, room.batch))
		known := []*text{{}}
		for range 25 {
			var wants []*Want
			type got struct{ logits, states, hidden []float32 }
			var results []*got
			for range 1 + rng.IntN(6) {
				f := known[rng.IntN(len(known))]
				if slices.ContainsFunc(wants, func(w *Want) bool { return w.Owner == f }) {
					continue
				}
				tokens := slices.Clone(f.tokens[:len(f.tokens)-rng.IntN(1+len(f.tokens)/4)])
				for range 1 + rng.IntN(30) {
					if len(tokens) < 120 {
						tokens = append(tokens, int32(259+rng.IntN(600)))
					}
				}
				if rng.IntN(3) > 0 { // a fork
					f = &text{}
					known = append(known, f)
				}
				f.tokens = tokens
				g := &got{}
				w := &Want{Owner: f, Tokens: tokens, From: rng.IntN(len(tokens) + 1)}
				w.Out = w.From + rng.IntN(len(tokens)-w.From+1)
				if rng.IntN(4) == 0 {
					w.From, w.States = 0, &g.states
				}
				if rng.IntN(3) == 0 {
					w.Hidden, w.Since = &g.hidden, rng.IntN(len(tokens)+1)
				}
				w.Rows = func(rows []llama.Row) error {
					for _, r := range rows {
						g.logits = append(g.logits, r.Logits[:8]...)
					}
					return nil
				}
				wants, results = append(wants, w), append(results, g)
			}
			if err := s.Bring(wants); err != nil {
				t.Fatal(err)
			}
			for i, w := range wants {
				logits, states := oracle(w.Tokens)
				near("logits", results[i].logits, logits[8*w.Out:])
				if w.Hidden != nil {
					near("kept states", results[i].hidden, states[len(states)/len(w.Tokens)*w.Since:])
				}
				if w.States != nil {
					near("states", results[i].states, states)
				}
			}
			// Some end.
			if rng.IntN(2) == 0 && len(known) > 1 {
				i := 1 + rng.IntN(len(known)-1)
				known[i].dead = true
				known = slices.Delete(known, i, i+1)
			}
			if err := s.Sweep(); err != nil {
				t.Fatal(err)
			}
			cells := map[*cell]int{}
			for _, q := range s.slots {
				if n, err := s.c.Len(q.id); err != nil || n != len(q.tokens) || n != len(q.cells) {
					t.Fatalf("sequence %d holds %d tokens, %d and %d cells are counted: %v", q.id, n, len(q.tokens), len(q.cells), err)
				}
				for _, c := range q.cells {
					cells[c]++
				}
			}
			for c, n := range cells {
				if c.refs != n {
					t.Fatalf("a cell of %d sequences is counted for %d", n, c.refs)
				}
			}
			if len(cells) != s.used {
				t.Fatalf("%d cells are in use, %d are counted", len(cells), s.used)
			}
		}
	}
}
