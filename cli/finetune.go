package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// What a value model is trained with unless flags say otherwise; docs/log.md has what it gives.
const (
	fineTuneEpochs = 2
	fineTuneRate   = 5e-4
	fineTuneBatch  = 2048 // tokens in a minibatch
)

// fineTuned tells how a value model was trained. Its fields have the names that they have in
// [report.Training] where they mean the same.
type fineTuned struct {
	Model      string           `json:"value_model"` // its file
	Policy     string           `json:"policy"`      // the file that it was made from
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
}

// fineTune trains the policy's whole network as a value function.
func fineTune(c *cli.Context) error {
	t := fineTuned{
		Model: c.String("out"), Kind: "fine-tuned", Target: valuehead.MonteCarloReturn, Atoms: c.Int("atoms"),
		Epochs: fineTuneEpochs, Rate: fineTuneRate, Seed: c.Uint64("seed"),
	}
	if c.IsSet("epochs") {
		t.Epochs = c.Int("epochs")
	}
	if c.IsSet("lr") {
		t.Rate = c.Float64("lr")
	}
	for _, name := range []string{"head", "one-pass", "layers", "hidden", "match", "members", "from", "target", "lambda", "weight-decay", "warm-up", "dropout", "html"} {
		if c.IsSet(name) {
			return usagef(c, "--%s with --fine-tune (it is for value functions that read the states of a model)", name)
		}
	}
	if t.Model == "" || t.Atoms < 2 || t.Epochs < 1 || c.Int("round") < 0 || !within(t.Rate, 1) || t.Rate == 0 {
		return usagef(c, "--fine-tune needs --out, two --atoms or more, at least one of --epochs, and --lr between 0 and 1")
	}
	from, err := readSource(c)
	if err != nil {
		return err
	}
	if err := vacant(t.Model, "give another --out, or remove it"); err != nil {
		return err
	}
	if t.Shards, err = storedStates(c); err != nil {
		return err
	}
	schema, err := schemaOf(t.Shards)
	if err != nil {
		return err
	}
	if t.Policy, err = from.find(c); err != nil {
		return err
	}
	header, base, err := readPolicy(t.Policy, schema.Backbone)
	if err != nil {
		return err
	}
	t.Backbone = schema.Backbone
	docs, held, err := t.documents(c.Context, schema)
	if err == nil {
		err = t.train(c, header, base, docs, held)
	}
	switch {
	case err != nil && c.Context.Err() != nil:
		return fmt.Errorf("%w (run the same command again to continue)", context.Cause(c.Context))
	case err != nil:
		return err
	case c.Bool("json"):
		return printJSON(c, &t)
	}
	return t.print(c)
}

// readPolicy reads the model whose states those of the backbone's fingerprint are, to train on.
func readPolicy(path, backbone string) (*gguf.File, *train.Model, error) {
	header, err := gguf.ReadModel(path)
	if err != nil {
		return nil, nil, err
	}
	fingerprint, err := llama.Fingerprint(header)
	if err != nil {
		return nil, nil, err
	}
	if fingerprint != backbone {
		return nil, nil, fmt.Errorf("%s is model %s, the states are those of model %s (give -m the model that the run was made with)", path, fingerprint, backbone)
	}
	if len(header.Parts()) > 1 {
		return nil, nil, fmt.Errorf("%s is split over %d files (join them with llama-gguf-split --merge)", path, len(header.Parts()))
	}
	base, err := train.Read(header)
	if err != nil {
		return nil, nil, fmt.Errorf("%w (without --fine-tune a value function is trained on the states of any model)", err)
	}
	return header, base, nil
}

// documents reads the responses with their prompts, and holds out those that would be held out
// of a head's training.
func (t *fineTuned) documents(ctx context.Context, schema states.Schema) (docs, held []train.ValueDoc, err error) {
	if !schema.Prompts {
		return nil, nil, fmt.Errorf("%s holds no prompts (collect the states again with this version of ivo)", t.Shards[0])
	}
	returns, err := rollout.Returns(t.Shards)
	if err != nil {
		return nil, nil, err
	}
	features, err := valuehead.NewFeatures(schema, valuehead.FeatureOptions{})
	if err != nil {
		return nil, nil, err
	}
	stored, err := valuehead.OpenStored(features, t.Shards, returns)
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
	for i, d := range all {
		if out[names[i]] {
			held = append(held, d)
			continue
		}
		docs = append(docs, d)
		t.States += len(d.Tokens) - d.From
	}
	t.Trained, t.HeldOut, t.Prompts = len(docs), len(out), len(prompts)-len(out)
	return docs, held, nil
}

// train fine-tunes the model on docs and writes it. What a training that was stopped has done
// is kept beside the file until then.
func (t *fineTuned) train(c *cli.Context, header *gguf.File, base *train.Model, docs, held []train.ValueDoc) error {
	atoms := train.Atoms(docs, t.Atoms)
	if atoms[0] == atoms[len(atoms)-1] {
		return fmt.Errorf("train: every response has the reward %v: there is nothing to learn (collect more responses, or use another reward)", atoms[0])
	}
	tokens := 0
	for _, d := range docs {
		tokens += len(d.Tokens)
	}
	begin := time.Now()
	meter := newMeter(c.App.ErrWriter)
	defer meter.close()
	o := train.Options{
		Steps: max(1, tokens*t.Epochs/fineTuneBatch), BatchTokens: fineTuneBatch, LR: t.Rate, Seed: t.Seed,
		Workers: max(0, c.Int("threads")), Checkpoint: t.Model + ".checkpoint",
	}
	o.Progress = func(p train.Progress) {
		note := fmt.Sprintf("loss %.3f", p.Loss)
		if p.HeldOut > 0 {
			note += fmt.Sprintf(", held out %.3f", p.HeldOut)
		}
		slog.Debug("fine-tune", "done", p.Step, "total", p.Steps, "note", note)
		meter.show("fine-tune", p.Step, p.Steps, "steps", note)
	}
	m, err := train.TrainValue(c.Context, base, atoms, o, docs, held)
	if err != nil {
		return err
	}
	values, err := m.Values(c.Context, held, o.Workers)
	if err != nil {
		return err
	}
	returns := make([]float32, len(held))
	for i, d := range held {
		returns[i] = d.Return
	}
	t.Report.HeldOut = valuehead.MetricsOf(values, returns)
	t.Parameters, t.Seconds = m.Config.Params(), time.Since(begin).Seconds()
	if err := m.WriteGGUF(t.Model, t.metadata(header)); err != nil {
		return err
	}
	if err := os.Remove(o.Checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is complete, but: %w (remove %s)", t.Model, err, o.Checkpoint)
	}
	return nil
}

// metadata is what the value model takes over from the policy: above all the tokenizer, by which
// decoding knows that they speak the same tokens.
func (t *fineTuned) metadata(policy *gguf.File) []gguf.KV {
	out := []gguf.KV{{Key: inspect.PolicyKey, Value: t.Backbone}}
	for _, kv := range policy.KVs {
		about := strings.HasPrefix(kv.Key, "general.") &&
			!slices.Contains([]string{"general.architecture", "general.file_type", "general.quantization_version", "general.alignment"}, kv.Key)
		if about || strings.HasPrefix(kv.Key, "tokenizer.") {
			out = append(out, kv)
		}
	}
	return out
}

func (t *fineTuned) print(c *cli.Context) error {
	w := c.App.Writer
	if err := printParts(w, report.PartsOf(&t.Report.HeldOut)); err != nil {
		return err
	}
	return sheet.Sheet{
		{"value model", t.Model},
		{"gives", fmt.Sprintf("a distribution over %d returns, fitted to %s", t.Atoms, t.Target)},
		{"kind", fmt.Sprintf("%s, %d parameters, from %s", t.Kind, t.Parameters, t.Policy)},
		{"trained on", fmt.Sprintf("%d states of %d trajectories of %d prompts; %d prompts held out", t.States, t.Trained, t.Prompts, t.HeldOut)},
		{"time", fmt.Sprintf("%.1f s", t.Seconds)},
	}.Write(w)
}
