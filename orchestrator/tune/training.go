package tune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// setting is one of the grid: a training, and its policies that are compared.
type setting struct {
	training
	key        string
	batch      int // tokens of a minibatch
	candidates []*candidate
}

// training is what is told of one, when it is over.
type training struct {
	run.Stamp
	Beta    float64 `json:"beta"`
	Rate    float64 `json:"lr"`
	Steps   int     `json:"steps"`
	Tokens  int     `json:"tokens"`  // of its passes over the pairs
	Loss    float64 `json:"loss"`    // of its last tenth
	Seconds float64 `json:"seconds"` // at the pace of the steps since it was last begun or continued
}

// candidate is a policy that may be taken: that of a setting after a step.
type candidate struct {
	Tried
	of     *setting // nil of the base policy
	tokens int      // of its answers
}

const policies = "policies"

func (c *candidate) policy() string {
	return fmt.Sprintf("%s/%s-%06d.gguf", policies, c.of.key, c.Step)
}
func (c *candidate) adapter() string {
	return fmt.Sprintf("%s/%s-%06d.lora.gguf", policies, c.of.key, c.Step)
}

// leastSteps are those of a training, for which minibatches become smaller.
const leastSteps = 50

func (t *tuning) setting(beta, rate float64) *setting {
	rows, most := 0, 0 // of all pairs and of the largest, which is a minibatch in any case
	for _, p := range t.pairs {
		n := len(p.Chosen.Tokens) - 1
		if t.Loss != SFT {
			n += len(p.Rejected.Tokens) - 1
		}
		rows, most = rows+n, max(most, n)
	}
	s := &setting{batch: max(most, min(t.Batch, rows*t.Epochs/leastSteps)), training: training{Beta: beta, Rate: rate}}
	s.Steps = max(1, rows*t.Epochs/s.batch)
	s.Tokens = rows * t.Epochs
	s.key = run.Key("training", 1, t.backbone, t.data, t.Loss, beta, rate, s.Steps, s.batch, t.Rank, t.Type, t.Seed)
	for _, step := range train.SnapshotSteps(s.Steps, t.Keep) {
		s.candidates = append(s.candidates, &candidate{of: s, Tried: Tried{Beta: beta, Rate: rate, Step: step, Steps: s.Steps}})
	}
	return s
}

func (s *setting) file() string       { return "trainings/" + s.key + ".json" }
func (s *setting) checkpoint() string { return "trainings/" + s.key + ".checkpoint" }

// ruin says why a policy cannot be compared: its weights or what it says are no numbers any more, as too high
// a learning rate leaves them.
type ruin struct {
	run.Stamp
	Why string `json:"why"`
}

func (c *candidate) ruin() string { return fmt.Sprintf("ruined/%s-%06d.json", c.of.key, c.Step) }

// ruined notes that a candidate is, so that it is not trained again for that.
func (t *tuning) ruined(c *candidate, why error) error {
	return run.Put(t.d, c.ruin(), c.of.key, nil, nil, &ruin{Why: why.Error()})
}

// ruinedBy is how a candidate is known to be ruined, "" if it is not.
func (t *tuning) ruinedBy(c *candidate) (string, error) {
	if c.of == nil {
		return "", nil
	}
	known, err := run.Value[ruin](t.d.Path(c.ruin()))
	if run.Absent(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return known.Why, nil
}

// there says whether a candidate's policy is in the folder.
func (t *tuning) there(c *candidate) bool {
	_, err := os.Stat(t.d.Path(c.policy()))
	return err == nil
}

// trained reads what is told of a training that is over.
func (t *tuning) trained(s *setting) error {
	known, err := run.Value[training](t.d.Path(s.file()))
	if run.Absent(err) { // it was killed before that was written, and all of its policies were
		return nil
	}
	if err == nil {
		s.training = *known
	}
	return err
}

// by says how a setting is trained, such as "dpo, beta 0.1, lr 0.0001".
func (t *tuning) by(s *setting) string {
	text := string(t.Loss)
	if t.Loss != SFT {
		text += fmt.Sprintf(", beta %v", s.Beta)
	}
	return text + fmt.Sprintf(", lr %.3g", s.Rate)
}

// train trains a setting, or goes on with it, and writes its candidates.
func (t *tuning) train(ctx context.Context, s *setting, number string) error {
	if err := t.d.Make(policies + "/x"); err != nil {
		return err
	}
	if err := t.d.Make(s.file()); err != nil {
		return err
	}
	checkpoint := t.d.Path(s.checkpoint())
	loss := map[Loss]train.PairLoss{DPO: train.DPO(s.Beta), IPO: train.IPO(s.Beta), SFT: train.SFT()}[t.Loss]
	begun, done := time.Now(), 0
	last := 0.0 // mean loss of the last tenth
	o := train.Options{
		Steps: s.Steps, BatchTokens: s.batch, LR: s.Rate, Rank: t.Rank, Seed: t.Seed, Workers: t.Workers, Checkpoint: checkpoint,
		Snapshots: t.Keep, Snapshot: func(step int, m *train.Model) error { return t.snapshot(s, step, m) },
		Progress: func(p train.Progress) {
			done++
			if tenth := max(1, p.Steps/10); p.Step > p.Steps-tenth {
				last += p.Loss / float64(tenth)
			}
			t.pace.reached(s, p.Step, time.Since(begun).Seconds()/float64(done))
			t.Notify(loop.Event{Stage: "train " + number + ": " + t.by(s), Done: p.Step, Total: p.Steps, Unit: "steps", Note: fmt.Sprintf("loss %.3f%s", p.Loss, t.pace.left())})
		},
	}
	_, err := train.TrainPolicy(ctx, t.base, loss, o, t.pairs, nil)
	if errors.Is(err, train.ErrNotFinite) && len(t.Validation) > 0 {
		return t.broken(s)
	}
	if err != nil {
		return err
	}
	if err := os.Remove(checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, c := range s.candidates {
		if !t.there(c) { // the checkpoint was of a later step than those whose policies somebody has removed
			return t.train(ctx, s, number)
		}
	}
	s.Loss, s.Seconds = last, time.Since(begun).Seconds()/float64(max(1, done))*float64(s.Steps)
	return run.Put(t.d, s.file(), s.key, nil, nil, &s.training)
}

// broken notes that a training has come to no numbers: what is left of its candidates is ruined.
func (t *tuning) broken(s *setting) error {
	for _, c := range s.candidates {
		if done, err := t.answered(c); err != nil {
			return err
		} else if !done && !t.there(c) {
			if err := t.ruined(c, train.ErrNotFinite); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(t.d.Path(s.checkpoint())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// snapshot writes the policy after a step, if it is a candidate.
func (t *tuning) snapshot(s *setting, step int, m *train.Model) error {
	for _, c := range s.candidates {
		if c.Step != step {
			continue
		}
		how := fmt.Sprintf("%s, step %d of %d, seed %d", t.by(s), step, s.Steps, t.Seed)
		if t.Rank > 0 {
			how += fmt.Sprintf(", adapters of rank %d", t.Rank)
		}
		told := []gguf.KV{{Key: FromKey, Value: t.backbone}, {Key: ByKey, Value: how}}
		if t.Rank > 0 {
			if err := m.WriteAdapter(t.d.Path(c.adapter()), t.Type, told); err != nil {
				return err
			}
		}
		return m.WriteGGUFAs(t.d.Path(c.policy()), t.Type, append(train.Metadata(t.file), told...))
	}
	return nil
}
