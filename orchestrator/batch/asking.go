package batch

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// Asking is what a reward is asked about a file of responses, with all that its scores depend on: it can be written
// down, sent to another machine and answered there.
type Asking struct {
	Key         string  `json:"key"`         // by which a run knows the scores
	Name        string  `json:"name"`        // the file of the run that they become, for people
	Reward      string  `json:"reward"`      // its spec, and
	Fingerprint string  `json:"fingerprint"` // what it has to be
	Asked       []Asked `json:"asked"`
}

// Asked is a response to score.
type Asked struct {
	reward.Item
	Sample int
}

// Elsewhere has responses scored on other machines: one score for each, in order.
type Elsewhere func(context.Context, *Asking) ([]Score, error)

// Under has the files scored that lie in a folder of what the others know.
func (e Elsewhere) Under(folder string) Elsewhere {
	if e == nil {
		return nil
	}
	return func(ctx context.Context, a *Asking) ([]Score, error) {
		of := *a
		of.Name = folder + "/" + a.Name
		return e(ctx, &of)
	}
}

// ErrHere says that no other machine scores them.
var ErrHere = errors.New("scored on this machine alone")

// Score asks a reward that is open.
func (a *Asking) Score(ctx context.Context, m reward.Model) ([]Score, error) {
	var out []Score
	err := eachPart(ctx, m, a.Asked, func(_ int, got []Score) error {
		out = append(out, got...)
		return nil
	})
	return out, err
}

// scorePart is the number of responses that are scored in one call: few enough that an
// interrupted scoring has not much to do again, and that it is seen how far it is.
const scorePart = 64

// eachPart asks about some responses after the others, and tells of each part.
func eachPart(ctx context.Context, m reward.Model, all []Asked, tell func(from int, got []Score) error) error {
	for from := 0; from < len(all); from += scorePart {
		part := all[from:min(from+scorePart, len(all))]
		items := make([]reward.Item, len(part))
		for k, a := range part {
			items[k] = a.Item
		}
		got, err := m.Score(ctx, items)
		if err != nil {
			return err
		}
		if len(got) != len(items) {
			return fmt.Errorf("score: the reward gave %d scores for %d responses (mend the reward)", len(got), len(items))
		}
		scores := make([]Score, len(part))
		for k, a := range part {
			scores[k] = Score{Prompt: a.Prompt.ID, Sample: a.Sample}
			switch v := got[k].Value; {
			case got[k].Err != nil:
				scores[k].Error = got[k].Err.Error()
			case math.IsNaN(v) || math.IsInf(v, 0):
				scores[k].Error = fmt.Sprintf("the reward is %v (give finite numbers)", v)
			default:
				scores[k].Reward = &v
			}
		}
		if err := tell(from, scores); err != nil {
			return err
		}
	}
	return nil
}
