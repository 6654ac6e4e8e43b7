package loop

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// disk is the number of bytes that the states of all rounds take at most: before compression,
// which saves a tenth to a quarter, and if no response ends early.
func (o *Options) disk(prompts []prompt.Encoded, s states.Schema) int64 {
	const half, full = 2, 4 // bytes of a hidden number, and of a token or scalar
	row := int64(half*s.Width + full*(1+len(s.Scalars)) + (half+full)*s.Candidates)
	own := int64(half*s.PromptWidth() + full)
	var tokens int64
	for _, p := range prompts {
		tokens += int64(len(p.Tokens))
	}
	var bytes int64
	for round := 1; round <= o.Rounds; round++ {
		n := int64(o.inRound(len(prompts), round))
		bytes += n*int64(o.Samples)*int64(o.MaxTokens)*row + tokens*n/int64(max(1, len(prompts)))*own*int64(len(o.Inputs.SampleFrom))
	}
	return bytes
}

// estimate says how long the first round may take and how much room the states do, before work
// that takes minutes, and warns of a disk that may be too small.
func (l *looping) estimate(ctx context.Context, missing []shard) error {
	if len(missing) == 0 {
		return nil
	}
	var tokens int
	for _, s := range missing {
		for _, t := range s.tasks {
			tokens += len(t.Tokens) + t.Samples*l.o.MaxTokens
		}
	}
	need := l.o.disk(l.Prompts, l.schema)
	free, known := run.Free(l.d.Root())
	if known && need > free {
		l.Say(fmt.Sprintf("the states of this run may take up to %s, and %s has %s left: a run that is out of room keeps what it has, and goes on when there is more", sheet.Size(uint64(need)), l.d.Root(), sheet.Size(uint64(free))))
	}
	rate, err := l.rate(ctx)
	if err != nil || rate == 0 {
		return err
	}
	took := time.Duration(float64(tokens) / rate * float64(time.Second))
	if took < time.Minute {
		return nil
	}
	text := fmt.Sprintf("round 1 decodes up to %d tokens, at about %.0f a second: %s at most; the states of %d rounds take up to %s", tokens, rate, took.Round(time.Minute), l.o.Rounds, sheet.Size(uint64(need)))
	if known {
		text += fmt.Sprintf(", %s are free", sheet.Size(uint64(free)))
	}
	l.Say(text)
	return nil
}

// rate measures how many tokens a second all engines decode together: a few steps of as many
// sequences as there are.
func (l *looping) rate(ctx context.Context) (float64, error) {
	const steps, longest = 8, 3 * time.Second
	task := batch.Task{Encoded: l.Prompts[0], Samples: l.o.Samples, MaxTokens: steps}
	n := max(1, l.o.Parallel/l.o.Samples)
	var decoded atomic.Int64
	begin := time.Now()
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	err := l.pool.Each(ctx, l.pool.Len(), func(ctx context.Context, e *engine.Engine, _ int) error {
		p := l.sampling(0)
		before := e.Stats().Tokens
		defer func() { decoded.Add(int64(e.Stats().Tokens - before)) }()
		return p.Decode(ctx, e, repeat(task, min(n, l.o.Context.Cells/max(1, p.Cells(len(task.Tokens), task.Samples)))), ignore)
	})
	if err != nil && ctx.Err() == nil {
		return 0, err
	}
	return float64(decoded.Load()) / time.Since(begin).Seconds(), nil
}

func repeat(t batch.Task, n int) (out []batch.Task) {
	for range max(1, n) {
		out = append(out, t)
	}
	return out
}
