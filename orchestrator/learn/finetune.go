package learn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/valuehead"
)

// PolicyKey is metadata of a value model: the fingerprint of the policy whose responses it values.
const PolicyKey = "ivo.value.policy"

// fineTuneBatch is the number of tokens in a minibatch.
const fineTuneBatch = 2048

// FineTuning trains a policy's whole network as a value function. What it tells of it has the
// names of [report.Training] where they mean the same.
type FineTuning struct {
	Model      string           `json:"value_model"` // its file
	Policy     string           `json:"policy"`      // the file that it is made from
	Kind       string           `json:"kind"`
	Target     valuehead.Target `json:"target"`
	Atoms      int              `json:"atoms"`
	Parameters int              `json:"parameters"`
	Backbone   string           `json:"backbone"`
	Shards     []string         `json:"shards"`
	Prompts    int              `json:"prompts"` // trained on, as are the trajectories and states
	Trained    int              `json:"trajectories"`
	States     int              `json:"states"`
	HeldOut    int              `json:"held_out_prompts"`
	Epochs     int              `json:"epochs"`
	Rate       float64          `json:"lr"`
	Seed       uint64           `json:"seed"`
	Seconds    float64          `json:"seconds"` // of training, since it was last begun or continued
	Report     struct {
		HeldOut valuehead.Metrics `json:"held_out"`
	} `json:"report"`

	Workers  int                                                  `json:"-"` // 0 for one a core
	Progress func(step, steps int, loss float64, heldOut float64) `json:"-"`
}

// FineTune trains on the data, and writes the model. What a training that was stopped has done
// is kept beside the file, and the same training goes on with it. Model, Policy, Atoms, Epochs,
// Rate (0 for what suits the model's size) and Seed say what is wanted; the rest is filled in.
func (t *FineTuning) FineTune(ctx context.Context, d *Data) error {
	schema, err := d.Schema()
	if err != nil {
		return err
	}
	t.Kind, t.Target, t.Backbone, t.Shards = "fine-tuned", valuehead.MonteCarloReturn, schema.Backbone, d.Shards
	header, base, err := readPolicy(ctx, t.Policy, schema.Backbone)
	if err != nil {
		return err
	}
	docs, held, err := t.documents(ctx, d)
	if err != nil {
		return err
	}
	return t.train(ctx, header, base, docs, held)
}

// readPolicy reads the model whose states those of the backbone's fingerprint are, to train on.
func readPolicy(ctx context.Context, path, backbone string) (*gguf.File, *train.Model, error) {
	header, err := gguf.ReadModel(path)
	if err != nil {
		return nil, nil, err
	}
	if err := checkBackbone(ctx, header, backbone); err != nil {
		return nil, nil, err
	}
	base, err := train.Read(header, func(tensor string) ([]float32, error) { return llama.Weights(header, tensor) })
	if err != nil {
		return nil, nil, &fault.Error{Op: "train", Field: "fine_tune", Err: err, Hint: "without {fine_tune} a value function is trained on the states of any model"}
	}
	return header, base, nil
}

// documents reads the responses with their prompts, and holds out those that would be held out
// of a head's training.
func (t *FineTuning) documents(ctx context.Context, d *Data) (docs, held []train.ValueDoc, err error) {
	schema, err := d.Schema()
	if err != nil {
		return nil, nil, err
	}
	if !schema.Prompts {
		return nil, nil, fmt.Errorf("train: %s holds no prompts (collect the states again with this version of ivo)", t.Shards[0])
	}
	features, err := valuehead.NewFeatures(schema, valuehead.FeatureOptions{})
	if err != nil {
		return nil, nil, err
	}
	stored, err := valuehead.OpenStored(features, t.Shards, d.Returns)
	if err != nil {
		return nil, nil, fmt.Errorf("train: %w", err)
	}
	var all []train.ValueDoc
	var names []string // of their prompts
	prompts := map[string]bool{}
	for i := range stored.Len() {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		e, err := stored.At(i)
		if err != nil {
			return nil, nil, fmt.Errorf("train: %w", err)
		}
		r, p := e.Trajectory, e.Prompt.Tokens
		if e.Return-e.Return != 0 {
			return nil, nil, fmt.Errorf("train: prompt %q, sample %d has the reward %v (score it before training on it)", r.Prompt, r.Sample, e.Return)
		}
		if len(r.Tokens) == 0 {
			continue
		}
		prompts[r.Prompt] = true
		all = append(all, train.ValueDoc{Tokens: slices.Concat(p, r.Tokens), From: len(p), Return: e.Return})
		names = append(names, r.Prompt)
	}
	out, err := valuehead.HeldOutPrompts(names, 0)
	if err != nil {
		return nil, nil, err
	}
	for i, doc := range all {
		if out[names[i]] {
			held = append(held, doc)
			continue
		}
		docs = append(docs, doc)
		t.States += len(doc.Tokens) - doc.From
	}
	t.Trained, t.HeldOut, t.Prompts = len(docs), len(out), len(prompts)-len(out)
	return docs, held, nil
}

func (t *FineTuning) train(ctx context.Context, header *gguf.File, base *train.Model, docs, held []train.ValueDoc) error {
	atoms := train.Atoms(docs, t.Atoms)
	if atoms[0] == atoms[len(atoms)-1] {
		return fmt.Errorf("train: every response has the reward %v: there is nothing to learn (collect more responses, or use another reward)", atoms[0])
	}
	tokens := 0
	for _, d := range docs {
		tokens += len(d.Tokens)
	}
	if t.Rate == 0 {
		t.Rate = base.Config.FineTuneRate(false)
	}
	begin := time.Now()
	o := train.Options{
		Steps: max(1, tokens*t.Epochs/fineTuneBatch), BatchTokens: fineTuneBatch, LR: t.Rate, Seed: t.Seed,
		Workers: t.Workers, Checkpoint: t.Model + ".checkpoint",
	}
	if t.Progress != nil {
		o.Progress = func(p train.Progress) { t.Progress(p.Step, p.Steps, p.Loss, p.HeldOut) }
	}
	m, err := train.TrainValue(ctx, base, atoms, o, docs, held)
	if err != nil {
		return err
	}
	values, err := m.Values(ctx, held, o.Workers)
	if err != nil {
		return err
	}
	returns := make([]float32, len(held))
	for i, d := range held {
		returns[i] = d.Return
	}
	t.Report.HeldOut = valuehead.MetricsOf(values, returns)
	t.Parameters, t.Seconds = m.Config.Params(), time.Since(begin).Seconds()
	if err := m.WriteGGUF(t.Model, t.metadata(header, valuehead.UnitOf(values))); err != nil {
		return err
	}
	if err := os.Remove(o.Checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is complete, but: %w (remove %s)", t.Model, err, o.Checkpoint)
	}
	return nil
}

// metadata is what the value model takes over from the policy: above all the tokenizer, by which
// decoding knows that they speak the same tokens.
func (t *FineTuning) metadata(policy *gguf.File, unit float64) []gguf.KV {
	return append(train.Metadata(policy), gguf.KV{Key: PolicyKey, Value: t.Backbone}, gguf.KV{Key: train.UnitKey, Value: float32(unit)})
}
