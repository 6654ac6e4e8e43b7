package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// A conversation whose turns continue each other gives what each turn gives from an empty
// context, states included, and decodes only what is new.
func TestContinue(t *testing.T) {
	const n = 8
	p := exact
	p.Layers = []int{0, 3}
	e, alone := open(t, p), open(t, p)
	base := tokenize(t, e, "i found a red lamp. yesterday i sold a huge drum.")
	more := slices.Concat(base, tokenize(t, e, "the weather was nice.")[1:])
	other := slices.Concat(base[:6], tokenize(t, e, "my cousin lost a tiny hat.")[1:])
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for i, turn := range []struct {
		ctx    context.Context
		prompt []int32
		states bool
		fresh  int // tokens of the prompt that are decoded
	}{
		{prompt: base, states: true, fresh: len(base)},
		{prompt: more, states: true, fresh: len(more) - len(base)},
		{prompt: more, states: true, fresh: 1},
		{prompt: other, states: true, fresh: len(other) - 6},
		{prompt: other, ctx: cancelled},
		{prompt: base, fresh: len(base) - 6},
		{prompt: base, states: true, fresh: len(base) - 6}, // the states of those before are there
		{prompt: more, fresh: len(more) - len(base)},
		{prompt: more[5:], states: true, fresh: len(more) - 5},
		{prompt: more[:3], fresh: 3},
	} {
		var tokens [2][]int32
		var logps, states [2][]float32
		decoded := e.Stats().Tokens
		for k, on := range []*engine.Engine{e, alone} {
			job := engine.Job{Sequences: 2, Cells: len(turn.prompt) + n, Run: func(s *engine.Session) (err error) {
				var q *engine.Seq
				if turn.states {
					q, states[k], err = s.PrefillStates(turn.prompt, 1)
				} else {
					q, err = s.Prefill(turn.prompt, 1)
				}
				if err != nil {
					return err
				}
				f, err := s.Fork(q) // the job's own sequences may go
				if err != nil {
					return err
				}
				s.Drop(q)
				for range n {
					row := f.Row()
					tokens[k], logps[k] = append(tokens[k], row.Top[0]), append(logps[k], row.TopLogits[0]-row.LSE)
					if err := s.Step([]*engine.Seq{f}, row.Top[:1]); err != nil {
						return err
					}
				}
				return nil
			}}
			ctx := t.Context()
			if turn.ctx != nil {
				ctx = turn.ctx
			}
			var err error
			if on == e {
				err = e.Continue(ctx, job)
			} else {
				err = on.Run(ctx, []engine.Job{job})
			}
			if !errors.Is(err, ctx.Err()) {
				t.Fatalf("turn %d: %v", i, err)
			}
		}
		if turn.ctx != nil {
			continue
		}
		if got := e.Stats().Tokens - decoded - n; got != turn.fresh {
			t.Errorf("turn %d: %d of %d tokens of the prompt were decoded, want %d", i, got, len(turn.prompt), turn.fresh)
		}
		if !slices.Equal(tokens[0], tokens[1]) || furthest(logps[0], logps[1]) > 1e-3 || len(states[0]) != len(states[1]) || furthest(states[0], states[1]) > 1e-3 {
			t.Errorf("turn %d: %v, from an empty context %v; log-probabilities off by %g, %d states by %g, want %d", i, tokens[0], tokens[1],
				furthest(logps[0], logps[1]), len(states[0]), furthest(states[0], states[1]), len(states[1]))
		}
	}

	run(t, e, [][]int32{base}, n) // forgets
	decoded := e.Stats().Tokens
	prefill := func(sequences int) engine.Job {
		return engine.Job{Sequences: sequences, Cells: len(base), Run: func(s *engine.Session) error {
			_, err := s.Prefill(base, 1)
			return err
		}}
	}
	if err := e.Continue(t.Context(), prefill(1)); err != nil || e.Stats().Tokens-decoded != len(base) {
		t.Errorf("after a run: %d tokens, %v", e.Stats().Tokens-decoded, err)
	}
	if err := e.Continue(t.Context(), prefill(e.Params().Sequences)); err == nil {
		t.Error("a job took the sequence that keeps the prompt")
	}
}

// A run that is cancelled anywhere leaves what the next one can go on with.
func TestContinueAfterCancel(t *testing.T) {
	p := exact
	p.Batch, p.Sequences = 16, 2
	e, alone := open(t, p), open(t, p)
	text := ""
	for range 12 {
		text += "i found a red lamp. "
	}
	prompt := tokenize(t, e, text)
	prefill := func(logits *[]float32, n int) engine.Job {
		return engine.Job{Sequences: 1, Cells: n, Run: func(s *engine.Session) error {
			q, err := s.Prefill(prompt[:n], 1)
			if err == nil {
				*logits = slices.Clone(q.Row().Logits)
			}
			return err
		}}
	}
	for i := range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Microsecond) // some before it begins, some in it, some behind it
		var got, want []float32
		e.Continue(ctx, prefill(&got, len(prompt)-i))
		cancel()
		n := len(prompt) - i/2
		if err := e.Continue(t.Context(), prefill(&got, n)); err != nil {
			t.Fatal(err)
		}
		if err := alone.Run(t.Context(), []engine.Job{prefill(&want, n)}); err != nil {
			t.Fatal(err)
		}
		if d := furthest(got, want); len(got) != len(want) || d > 1e-3 {
			t.Errorf("cancelled after %d00 us: logits off by %g", i, d)
		}
	}
}

// What is kept leaves the next job the room that it asks for.
func TestContinueInFullContext(t *testing.T) {
	p := exact
	p.Ctx, p.Sequences = 256, 2
	e := open(t, p)
	base := tokenize(t, e, "i found a red lamp. yesterday i sold a huge drum.")
	for len(base) < 250 {
		base = append(base, base[1:]...)
	}
	base = base[:250]
	for i := range 4 {
		prompt := slices.Clone(base)
		prompt[10+i]++ // nearly all of what is kept has to go
		err := e.Continue(t.Context(), engine.Job{Sequences: 1, Cells: 256, Run: func(s *engine.Session) error {
			q, err := s.Prefill(prompt, 1)
			for range 6 {
				if err == nil {
					err = s.Step([]*engine.Seq{q}, q.Row().Top[:1])
				}
			}
			return err
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
}
