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
func TestKept(t *testing.T) {
	const n = 8
	p := exact
	p.Layers, p.Kept = []int{0, 3}, 4096
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
		{prompt: base, fresh: 1},
		{prompt: more[5:], fresh: len(more) - 5},
		{prompt: more[5:], states: true, fresh: len(more) - 5}, // the states are not there
		{prompt: more[5:], states: true, fresh: 1},
		{prompt: other, states: true, fresh: 1},
		{prompt: more[:3], states: true, fresh: 1},
	} {
		var tokens [2][]int32
		var logps, states [2][]float32
		decoded := e.Stats().Tokens
		for k, on := range []*engine.Engine{e, alone} {
			job := engine.Job{Sequences: 2, Cells: len(turn.prompt) + n, Prompt: turn.prompt, PromptStates: turn.states, Run: func(s *engine.Session) (err error) {
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
				err = e.Do(ctx, job)
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

	if e.Fetched() == 0 {
		t.Error("no prompt was set aside and came back")
	}
	run(t, e, [][]int32{base}, n) // forgets
	for i, turn := range []struct{ sequences, fresh int }{
		{1, len(base)}, {1, 1},
		{e.Params().Sequences, len(base)}, // leaves none to keep it in
		{1, len(base)},
	} {
		before := e.Stats()
		err := e.Do(t.Context(), engine.Job{Sequences: turn.sequences, Cells: len(base), Prompt: base, Run: func(s *engine.Session) error {
			_, err := s.Prefill(base, 1)
			return err
		}})
		after := e.Stats()
		if fresh := after.Tokens - before.Tokens; err != nil || fresh != turn.fresh || after.Reused-before.Reused != len(base)-fresh {
			t.Errorf("after a run, %d: %d tokens, %v", i, fresh, err)
		}
	}
}

// A run that is cancelled anywhere leaves what the next one can go on with.
func TestKeptAfterCancel(t *testing.T) {
	p := exact
	p.Batch, p.Sequences = 16, 2
	e, alone := open(t, p), open(t, p)
	text := ""
	for range 12 {
		text += "i found a red lamp. "
	}
	prompt := tokenize(t, e, text)
	prefill := func(logits *[]float32, n int) engine.Job {
		return engine.Job{Sequences: 1, Cells: n, Prompt: prompt[:n], Run: func(s *engine.Session) error {
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
		e.Do(ctx, prefill(&got, len(prompt)-i))
		cancel()
		n := len(prompt) - i/2
		if err := e.Do(t.Context(), prefill(&got, n)); err != nil {
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
func TestKeptInFullContext(t *testing.T) {
	p := exact
	p.Ctx, p.Sequences, p.Kept = 256, 2, 256
	e := open(t, p)
	base := tokenize(t, e, "i found a red lamp. yesterday i sold a huge drum.")
	for len(base) < 250 {
		base = append(base, base[1:]...)
	}
	base = base[:250]
	for i := range 4 {
		prompt := slices.Clone(base)
		prompt[10+i]++ // nearly all of what is kept has to go
		err := e.Do(t.Context(), engine.Job{Sequences: 1, Cells: 256, Prompt: prompt, Run: func(s *engine.Session) error {
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
