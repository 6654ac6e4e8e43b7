package tune

import (
	"context"
	"fmt"

	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// likelihood is what the base policy says of a pair, in nats.
type likelihood struct {
	Chosen   float64 `json:"chosen"`
	Rejected float64 `json:"rejected"`
}

// referencePart is the number of pairs whose log-probabilities are computed and kept together.
const referencePart = 64

// reference computes the log-probabilities of the pairs' answers under the base policy, or reads those that
// are there: the offsets of the losses.
func (t *tuning) reference(ctx context.Context) error {
	if t.Loss == SFT {
		return nil
	}
	for at := 0; at < len(t.pairs); at += referencePart {
		part := t.pairs[at:min(at+referencePart, len(t.pairs))]
		name, key := fmt.Sprintf("reference/%04d.jsonl", at/referencePart), run.Key("reference", 1, t.backbone, t.data, at)
		done, err := t.d.Done(name, key)
		if err != nil {
			return err
		}
		if !done {
			if err := t.computeReference(ctx, part, name, key); err != nil {
				return err
			}
		}
		_, known, err := run.Lines[likelihood](t.d.Path(name))
		if err != nil {
			return err
		}
		for i := range part {
			part[i].Offset = known[i].Chosen - known[i].Rejected
		}
		t.Notify(loop.Event{Stage: "reference", Done: at + len(part), Total: len(t.pairs), Unit: "pairs"})
	}
	return nil
}

func (t *tuning) computeReference(ctx context.Context, part []train.Pair, name, key string) error {
	var docs []train.Doc
	for _, p := range part {
		docs = append(docs, p.Chosen, p.Rejected)
	}
	logps, err := t.base.LogProbs(ctx, docs, t.Workers)
	if err != nil {
		return err
	}
	lines := make([]likelihood, len(part))
	for i := range lines {
		lines[i] = likelihood{logps[2*i], logps[2*i+1]}
	}
	return run.PutLines(t.d, name, key, nil, nil, lines)
}
