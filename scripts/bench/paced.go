package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// paced is an engine that halts before every batch and decodes it when told to, so that
// engines, or one and the bare loop, can take their steps in turns.
type paced struct {
	*engine.Engine
	clock  func() time.Duration
	batch  engine.Batch // which the next step decodes
	ctx    context.Context
	cancel context.CancelFunc
	halted chan engine.Batch
	resume chan struct{}
	done   chan struct{}
	err    error // once done is closed
}

func newPaced(m *llama.Model, params engine.Params, clock func() time.Duration) (*paced, error) {
	p := &paced{clock: clock, halted: make(chan engine.Batch), resume: make(chan struct{})}
	params.Observe = func(b engine.Batch) {
		select {
		case p.halted <- b:
		case <-p.ctx.Done():
			return
		}
		select {
		case <-p.resume:
		case <-p.ctx.Done():
		}
	}
	var err error
	p.Engine, err = engine.New(m, params)
	return p, err
}

// start begins with the jobs and halts before the first batch. Call stop in the end.
func (p *paced) start(ctx context.Context, jobs []engine.Job) error {
	p.ctx, p.cancel = context.WithCancel(ctx)
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		p.err = p.Run(p.ctx, jobs)
	}()
	_, err := p.halt()
	return err
}

// stop ends a run that was started, wherever it is.
func (p *paced) stop() {
	p.cancel()
	<-p.done
}

// halt waits for the next batch, and says whether there is one.
func (p *paced) halt() (more bool, err error) {
	select {
	case p.batch = <-p.halted:
		return true, nil
	case <-p.done:
		return false, p.err
	}
}

// step decodes the batch and lets the jobs go on until the next one is put together. It
// took so many seconds by the engine's clock.
func (p *paced) step() (took float64, more bool, err error) {
	begin := p.clock()
	select {
	case p.resume <- struct{}{}:
	case <-p.done: // cancelled
		return 0, false, p.err
	}
	more, err = p.halt()
	return (p.clock() - begin).Seconds(), more, err
}

// pair is a batch that was decoded twice.
type pair struct {
	tokens       int
	prompts      bool    // they are those of prompts
	engine, bare float64 // seconds
	inGo         float64 // of the engine's, by the wall clock
}

// against runs jobs through an engine and decodes each batch by the bare loop too, now the
// one first and now the other.
func against(ctx context.Context, p *paced, c *llama.Context, jobs []engine.Job) ([]pair, error) {
	if err := c.Clear(); err != nil {
		return nil, err
	}
	if err := p.start(ctx, jobs); err != nil {
		return nil, err
	}
	defer p.stop()
	var pairs []pair
	for more := true; more; {
		b := p.batch
		now := pair{tokens: len(b.Tokens), prompts: slices.ContainsFunc(b.Tokens, func(t engine.Token) bool { return !t.Output })}
		bareFirst := len(pairs)%2 == 0
		var err error
		if bareFirst {
			if now.bare, err = p.replay(c, b); err != nil {
				return nil, err
			}
		}
		inC, begin := p.Stats().InC, time.Now()
		if now.engine, more, err = p.step(); err != nil {
			return nil, err
		}
		now.inGo = (time.Since(begin) - (p.Stats().InC - inC)).Seconds()
		if !bareFirst {
			if now.bare, err = p.replay(c, b); err != nil {
				return nil, err
			}
		}
		pairs = append(pairs, now)
	}
	return pairs, nil
}

// replay does a batch by the bare loop: the same forks, drops and tokens.
func (p *paced) replay(c *llama.Context, b engine.Batch) (took float64, err error) {
	tokens, step := inStep(b.Tokens)
	begin := p.clock()
	for _, o := range b.Ops {
		switch o.Kind {
		case engine.Fork:
			err = c.Fork(o.From, o.Seq)
		case engine.Drop:
			err = c.Drop(o.Seq)
		case engine.Trim:
			err = c.Trim(o.Seq, o.From)
		}
		if err != nil {
			return 0, err
		}
	}
	if step {
		err = c.BareLoop(tokens, len(tokens), int(b.Tokens[0].Pos))
	} else {
		for _, t := range b.Tokens {
			if _, err := c.Add(t.ID, t.Pos, t.Seq, t.Output, 0); err != nil {
				return 0, err
			}
		}
		err = c.Decode()
	}
	return (p.clock() - begin).Seconds(), err
}

// inStep are the tokens of a batch by sequence, if it extends the first sequences by one
// each at the same position, as the bare loop does.
func inStep(batch []engine.Token) (tokens []int32, ok bool) {
	tokens = make([]int32, len(batch))
	seen := make([]bool, len(batch))
	for _, t := range batch {
		if int(t.Seq) >= len(batch) || seen[t.Seq] || t.Pos != batch[0].Pos || !t.Output {
			return nil, false
		}
		tokens[t.Seq], seen[t.Seq] = t.ID, true
	}
	return tokens, true
}

// inTurns runs jobs through each engine, all taking their steps in turns, and returns the
// seconds of each engine's steps, the first being that of the prompts.
func inTurns(ctx context.Context, engines []*paced, jobs [][]engine.Job) ([][]float64, error) {
	running := make([]bool, len(engines))
	for i, p := range engines {
		if err := p.start(ctx, jobs[i]); err != nil {
			return nil, err
		}
		defer p.stop()
		running[i] = true
	}
	times := make([][]float64, len(engines))
	for round, left := 0, len(engines); left > 0; round++ {
		for k := range engines {
			i := (k + round) % len(engines)
			if !running[i] {
				continue
			}
			took, more, err := engines[i].step()
			if err != nil {
				return nil, err
			}
			times[i] = append(times[i], took)
			if !more {
				running[i] = false
				left--
			}
		}
	}
	return times, nil
}

func closeAll(engines []*paced) error {
	var errs []error
	for _, p := range engines {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
