package batch

import (
	"bytes"
	"context"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// unread is the number of pieces of a response that may wait for a reader.
const unread = 64

// Answer draws one response to a task, beside all else that the engine is asked. emit, if set, gets the text as it
// comes, in the caller's goroutine, as EmitThinking does that of thoughts and EmitTokens the tokens. It may be slow: the task waits for it when many pieces do, and no
// other task does, as none waits for what rewards have to say of this one. The answer ends early with ctx.
// What a followed reward keeps for the engine it keeps until it is closed.
func (p Policy) Answer(ctx context.Context, e *engine.Engine, t Task, emit func([]byte)) (r decode.Response, err error) {
	if err := p.checkRewards(ctx, []Task{t}); err != nil {
		return r, err
	}
	var session *engine.Session // the job's, once that runs
	p.outside = func(f func()) { session.Outside(f) }
	pieces := make(chan func(), unread) // what tells one
	by := func(to func([]byte)) func([]byte) {
		if to == nil {
			return nil
		}
		return func(text []byte) {
			text = bytes.Clone(text)
			engine.Send(session, pieces, func() { to(text) }) // the next step says why it cannot
		}
	}
	p.emit, p.EmitThinking = by(emit), by(p.EmitThinking)
	if to := p.EmitTokens; to != nil {
		p.EmitTokens = func(tokens []decode.Said) { engine.Send(session, pieces, func() { to(tokens) }) }
	}
	t.Samples = 1
	jobs, err := p.jobs(e, t, func(_ int, done decode.Response) { r = done })
	if err != nil {
		return r, err
	}
	job := jobs[0]
	run := job.Run
	job.Priority, job.Run = t.Priority, func(s *engine.Session) error {
		session = s
		return run(s)
	}
	ticket, err := e.Submit(ctx, job)
	if err != nil {
		return r, err
	}
	for {
		select {
		case tell := <-pieces:
			tell()
		case <-ticket.Done():
			for len(pieces) > 0 {
				(<-pieces)()
			}
			return r, ticket.Wait()
		}
	}
}

// score is a reward's Score, which others than the task do not wait for where they need not.
func (p *Policy) score(score func(context.Context, []reward.Item) ([]reward.Score, error)) func(context.Context, []reward.Item) ([]reward.Score, error) {
	if p.outside == nil {
		return score
	}
	return func(ctx context.Context, items []reward.Item) (scores []reward.Score, err error) {
		p.outside(func() { scores, err = score(ctx, items) })
		return scores, err
	}
}
