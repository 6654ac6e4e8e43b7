// Package rollout collects trajectories: responses of a policy to prompts, and the states they
// went through, kept as they are decoded. What a reward says of them is no part of it: the same
// trajectories can be scored by several.
package rollout

import (
	"context"
	"os"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Schema describes the states that an engine of this model with these layers yields, the
// prompts' own among them; thinks says whether the model thinks before it answers.
func Schema(m *llama.Model, layers []int, thinks bool) (states.Schema, error) {
	fp, err := m.Fingerprint()
	if err != nil {
		return states.Schema{}, err
	}
	norms, err := llama.Norms(m.Metadata())
	if err != nil {
		return states.Schema{}, err
	}
	top := min(engine.DefaultTop, m.Info().Vocab)
	return states.Schema{
		Backbone: fp, Norms: norms, Layers: layers, Width: len(layers) * m.Info().Width, Scalars: value.ScalarsOf(thinks),
		Top: top, Candidates: min(decode.Candidates, top), Prompts: true, PromptLayers: layers,
	}, nil
}

// Collect draws the responses of a shard by the policy, with their states.
func Collect(ctx context.Context, e *engine.Engine, p batch.Policy, tasks []batch.Task) (*Shard, error) {
	p.Record = true
	return draw(ctx, e, p, tasks)
}

func draw(ctx context.Context, e *engine.Engine, p batch.Policy, tasks []batch.Task) (*Shard, error) {
	offset := make([]int, len(tasks)+1) // of each task's first response
	for i, t := range tasks {
		offset[i+1] = offset[i] + max(1, t.Samples)
	}
	n := offset[len(tasks)]
	s := &Shard{Answers: make([]Answer, n), Drawn: make([]decode.Response, n)}
	if p.Record {
		s.States, s.Prompts = make([]states.Trajectory, n), make([]states.Prompt, len(tasks))
	}
	err := p.Decode(ctx, e, tasks, func(task, sample int, r decode.Response) error {
		t := tasks[task]
		at := offset[task] + sample - t.First
		s.Answers[at], s.Drawn[at] = Answer{batch.Stored(t.ID, sample, r, p.Record), number.Float(r.Value), number.Float(r.Ratio)}, r
		if !p.Record {
			return nil
		}
		s.States[at] = states.Trajectory{
			Prompt: t.ID, Sample: sample, Tokens: r.Tokens, Hidden: r.States, Scalars: r.Scalars,
			Candidates: r.Candidates, CandidateLogProbs: r.CandidateLogProbs,
		}
		if sample == t.First {
			s.Prompts[task] = *r.Prompt
			s.Prompts[task].ID = t.ID
		}
		return nil
	})
	return s, err
}

// Store writes a shard into a run: its states, then its responses with the key of what they
// were made from.
func (s *Shard) Store(d *run.Dir, round int, shard run.Shard, schema states.Schema, key string, from map[string]string) error {
	sf := run.States(round, shard)
	if err := d.Make(sf); err != nil {
		return err
	}
	write := func() error { return states.Write(d.Path(sf), schema, s.Prompts, s.States) }
	if s.File != "" {
		write = func() error {
			return atomicfile.Replace(d.Path(sf), func(tmp string) error { return os.Rename(s.File, tmp) })
		}
	}
	if err := write(); err != nil {
		return err
	}
	return run.PutLines(d, run.Trajectories(round, shard), key, from, []string{sf}, s.Responses())
}
