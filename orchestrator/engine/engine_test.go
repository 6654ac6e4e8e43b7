package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

func init() { slog.SetLogLoggerLevel(slog.LevelWarn) }

const labModel = "../../testdata/lab/summarize-s.gguf"

var exact = engine.Params{Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32}

func open(t testing.TB, p engine.Params) *engine.Engine {
	t.Helper()
	m, err := llama.Load(labModel, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(m, p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(e.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	})
	return e
}

func tokenize(t testing.TB, e *engine.Engine, text string) []int32 {
	t.Helper()
	tokens, err := e.Model().Tokenize(text, true, false)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

var prompts = []string{
	"i got a red lamp yesterday.\nTL;DR:", "my cousin lost a tiny hat.", "the weather was nice. i sold a huge drum",
	"years ago i fixed a bell.\nTL;DR: so", "a", "i hid a blue bike at work. i found a map.\nTL;DR:",
}

// greedy extends a prompt by n likeliest tokens and keeps the log-probabilities.
func greedy(s *engine.Session, prompt []int32, n int) (tokens []int32, logps []float32, err error) {
	q, err := s.Prefill(prompt, 1)
	if err != nil {
		return nil, nil, err
	}
	for range n {
		row := q.Row()
		tokens, logps = append(tokens, row.Top[0]), append(logps, row.TopLogits[0]-row.LSE)
		if err := s.Step([]*engine.Seq{q}, tokens[len(tokens)-1:]); err != nil {
			return nil, nil, err
		}
	}
	return tokens, logps, nil
}

type output struct {
	tokens []int32
	logps  []float32
}

func run(t testing.TB, e *engine.Engine, prompts [][]int32, n int) []output {
	t.Helper()
	out := make([]output, len(prompts))
	var jobs []engine.Job
	for i, p := range prompts {
		jobs = append(jobs, engine.Job{Sequences: 1, Cells: len(p) + n, Run: func(s *engine.Session) (err error) {
			out[i].tokens, out[i].logps, err = greedy(s, p, n)
			return err
		}})
	}
	if err := e.Run(context.Background(), jobs); err != nil {
		t.Fatal(err)
	}
	return out
}

// Prompts decoded together give what each gives alone, whether they all fit at once,
// are admitted one after the other, or do not fit a batch.
func TestMergedEqualsAlone(t *testing.T) {
	const n = 12
	e := open(t, exact)
	var tokens [][]int32
	for _, p := range prompts {
		tokens = append(tokens, tokenize(t, e, p))
	}
	tokens = append(tokens, slices.Concat(tokens...)) // longer than the small batch below
	var want []output
	for _, p := range tokens {
		want = append(want, run(t, e, [][]int32{p}, n)...)
	}
	for name, p := range map[string]engine.Params{
		"together":    {},
		"two at once": {Sequences: 2},
		"tight":       {Ctx: 256, Sequences: 3},
		"small batch": {Batch: 16, Sequences: 8},
	} {
		p.Threads, p.Flash, p.CacheK, p.CacheV = exact.Threads, exact.Flash, exact.CacheK, exact.CacheV
		for i, got := range run(t, open(t, p), tokens, n) {
			if !slices.Equal(got.tokens, want[i].tokens) {
				t.Errorf("%s: prompt %d gave %v, alone %v", name, i, got.tokens, want[i].tokens)
			}
			for k := range got.logps {
				if d := got.logps[k] - want[i].logps[k]; d > 1e-3 || d < -1e-3 {
					t.Errorf("%s: prompt %d: log-probability %d is %g, alone %g", name, i, k, got.logps[k], want[i].logps[k])
				}
			}
		}
	}
}

// The same jobs give the same results to the last bit, whatever ran before.
func TestDeterministic(t *testing.T) {
	e := open(t, engine.Params{Sequences: 3})
	var tokens [][]int32
	for _, p := range prompts {
		tokens = append(tokens, tokenize(t, e, p))
	}
	want := run(t, e, tokens, 10)
	run(t, e, tokens[2:4], 5)
	for i, got := range run(t, e, tokens, 10) {
		if !slices.Equal(got.tokens, want[i].tokens) || !slices.Equal(got.logps, want[i].logps) {
			t.Errorf("prompt %d differs the second time", i)
		}
	}
}

// Forks share their past and go separate ways; a dropped sequence's room is used again.
func TestForks(t *testing.T) {
	e := open(t, exact)
	prompt := tokenize(t, e, prompts[0])
	ways := [][]int32{tokenize(t, e, "got red lamp")[1:], tokenize(t, e, "sold blue hat")[1:], tokenize(t, e, "my my my")[1:]}
	n := min(len(ways[0]), len(ways[1]), len(ways[2]))
	fromScratch := func(s *engine.Session, tokens []int32) ([]float32, error) {
		q, err := s.Prefill(tokens, 1)
		if err != nil {
			return nil, err
		}
		defer s.Drop(q)
		return slices.Clone(q.Row().Logits), nil
	}
	err := e.Run(context.Background(), []engine.Job{{Sequences: 4, Cells: 2000, Run: func(s *engine.Session) error {
		root, err := s.Prefill(prompt, 1)
		if err != nil {
			return err
		}
		for range 3 { // again and again in the same four sequences
			var forks []*engine.Seq
			for range ways {
				f, err := s.Fork(root)
				if err != nil {
					return err
				}
				forks = append(forks, f)
			}
			if _, err := s.Fork(root); err == nil {
				return errors.New("a fifth sequence")
			}
			for k := range n {
				if err := s.Step(forks, []int32{ways[0][k], ways[1][k], ways[2][k]}); err != nil {
					return err
				}
			}
			if root.Row() != nil {
				return errors.New("the root, left out of the steps, still has a row")
			}
			got := make([][]float32, 3)
			for i, f := range forks {
				got[i] = slices.Clone(f.Row().Logits)
				s.Drop(f)
			}
			for i := range forks {
				want, err := fromScratch(s, slices.Concat(prompt, ways[i][:n]))
				if err != nil {
					return err
				}
				for y := range want {
					if d := got[i][y] - want[y]; d > 1e-3 || d < -1e-3 {
						return fmt.Errorf("fork %d: logit %d is %g, from scratch %g", i, y, got[i][y], want[y])
					}
				}
			}
		}
		return nil
	}}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestErrors(t *testing.T) {
	e := open(t, engine.Params{Ctx: 256, Sequences: 4})
	prompt := tokenize(t, e, prompts[0])
	idle := func(*engine.Session) error { return nil }
	for _, bad := range []engine.Job{{Sequences: 5, Run: idle}, {Sequences: 0, Run: idle}, {Sequences: 1, Cells: 257, Run: idle}} {
		if err := e.Run(context.Background(), []engine.Job{bad}); err == nil {
			t.Errorf("job %+v ran", bad)
		}
	}

	// The first error ends the run: nobody hangs, and the engine works afterwards.
	boom := errors.New("boom")
	jobs := make([]engine.Job, 20)
	for i := range jobs {
		jobs[i] = engine.Job{Sequences: 1, Cells: 60, Run: func(s *engine.Session) error {
			_, _, err := greedy(s, prompt, 5+i)
			if i == 2 {
				return boom
			}
			return err
		}}
	}
	if err := e.Run(context.Background(), jobs); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	run(t, e, [][]int32{prompt}, 5)

	ctx, cancel := context.WithCancel(context.Background())
	jobs = []engine.Job{{Sequences: 1, Cells: 200, Run: func(s *engine.Session) error {
		cancel()
		_, _, err := greedy(s, prompt, 100)
		return err
	}}}
	if err := e.Run(ctx, jobs); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	run(t, e, [][]int32{prompt}, 5)

	// A job that panics or leaves its goroutine ends the run with an error.
	for name, f := range map[string]func(*engine.Session) error{
		"panicked": func(*engine.Session) error { panic("at the disco") },
		"ended":    func(*engine.Session) error { runtime.Goexit(); return nil },
	} {
		err := e.Run(context.Background(), []engine.Job{{Sequences: 1, Cells: 10, Run: f}})
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}

	// One run at a time, and no Close under it.
	err := e.Run(context.Background(), []engine.Job{{Sequences: 2, Cells: 100, Run: func(s *engine.Session) error {
		if err := e.Run(context.Background(), nil); !errors.Is(err, llama.ErrBusy) {
			t.Errorf("a run inside a run: %v", err)
		}
		if err := e.Close(); !errors.Is(err, llama.ErrBusy) {
			t.Errorf("closed under a run: %v", err)
		}
		q, err := s.Prefill(prompt, 1)
		if err != nil {
			return err
		}
		s.Drop(q)
		s.Drop(q)
		if err := s.Step([]*engine.Seq{q}, []int32{5}); err == nil {
			t.Error("a dropped sequence was stepped")
		}
		if _, err := s.Fork(q); err == nil {
			t.Error("a dropped sequence was forked")
		}
		if _, _, err := greedy(s, prompt, 3); err != nil { // its room is free, once
			return err
		}
		_, err = s.Prefill(prompt, 1)
		return err
	}}})
	if err != nil {
		t.Error(err)
	}

	// A job that takes more cells than it said fills the cache: an error, no crash.
	err = e.Run(context.Background(), []engine.Job{{Sequences: 1, Cells: 10, Run: func(s *engine.Session) error {
		_, _, err := greedy(s, prompt, 300)
		return err
	}}})
	if !errors.Is(err, llama.ErrContextFull) || !strings.Contains(err.Error(), "context size") {
		t.Errorf("full: %v", err)
	}
	if _, err := engine.New(e.Model(), engine.Params{Batch: 2, Sequences: 4}); err == nil {
		t.Error("four sequences in batches of two")
	}
}
