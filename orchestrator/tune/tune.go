// Package tune trains policies: by DPO or IPO on preferences, or on the chosen answers alone (SFT on the
// best of n samples), with every setting of a grid. Of all that were trained, those of the early steps
// included, it takes the policy whose own answers to validation prompts have the largest reward: a loss on
// held-out pairs does not tell a good policy from a ruined one (docs/log.md).
//
// What takes work is kept in a folder, under the key of all that it depends on: the reference's
// log-probabilities, the answers and their scores, and the training that was stopped. So a tuning that
// was killed goes on, and a grid that grows trains what is new.
package tune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

const op = "tune"

// Loss is what a policy is trained by.
type Loss string

const (
	DPO Loss = "dpo" // arXiv 2305.18290
	IPO Loss = "ipo" // arXiv 2310.12036; beta is its tau
	SFT Loss = "sft" // next tokens of the chosen answers
)

// Losses are all of them.
var Losses = []Loss{DPO, IPO, SFT}

// Options say what is trained and how its policies are compared. The zero value takes the defaults given.
type Options struct {
	Loss   Loss
	Betas  []float64       // to try; .05, .1 and .3, or .1 where nothing is compared; none of SFT
	Rates  []float64       // peak learning rates to try; see defaultRates
	Epochs int             // passes over the pairs, 2
	Keep   int             // policies of each training that are compared, evenly spread over its steps, 3
	Rank   int             // of adapters that are learned instead of all weights; 0 without
	Type   gguf.TensorType // that the policy is written as: F32 or F16
	// Longest leaves out pairs of which a side has more tokens, with its prompt; 0 for 1,024.
	Longest int
	Batch   int // tokens of a minibatch, 2,048; fewer where there would be too few steps
	Seed    uint64
	Workers int // that train; 0 for one a core

	// How the policies answer the validation prompts.
	Samples   int // to each of them, 1
	Sampling  policy.Sampling
	MaxTokens int
	Stop      []string
	MaxKL     float64 // nats an answer from the base policy, of what may be taken; 0 for any
	Context   batch.Context
	Parallel  int // sequences at once
}

// Work is what is tuned, and what it is tuned on.
type Work struct {
	Model        *llama.Model // the base policy, which is the reference too
	Encoder      *prompt.Encoder
	Pairs        []Pair
	Trajectories int // that the pairs were chosen from
	// Validation are prompts, none of which has a pair, whose answers decide by their reward. Without any
	// the last policy of the first setting is taken.
	Validation []prompt.Encoded
	Reward     reward.Model
	Tested     []prompt.Encoded // prompts of a later test, which are none of the others
	Load       func(path string) (*llama.Model, error)
	Dir        string // folder of what is kept on the way
	Out        string // the policy
	Adapter    string // its adapters as a file of their own, "" for none
	Notify     func(loop.Event)
}

// Metadata of a policy: the fingerprint of the model that it was trained from, and how.
const (
	FromKey = "ivo.tuned.from"
	ByKey   = "ivo.tuned.by"
)

func (o Options) withDefaults(base train.Config, compared bool) Options {
	if o.Betas == nil {
		o.Betas = []float64{.05, .1, .3}
		if !compared {
			o.Betas = []float64{.1}
		}
	}
	if o.Loss == SFT {
		o.Betas = []float64{0}
	}
	if o.Rates == nil {
		o.Rates = defaultRates(base, o)
		if !compared {
			o.Rates = o.Rates[:1]
		}
	}
	o.Epochs, o.Keep, o.Longest, o.Batch = cmp.Or(o.Epochs, 2), cmp.Or(o.Keep, 3), cmp.Or(o.Longest, 1024), cmp.Or(o.Batch, 2048)
	o.Samples, o.Parallel = cmp.Or(o.Samples, 1), cmp.Or(o.Parallel, 32)
	return o
}

// defaultRates are about those at which preferences were learned in the lab and a third of that: a tenth and
// three tenths of what a value function is fine-tuned at, and of chosen answers alone that too, whose
// loss does not drive a policy away from what it knows.
func defaultRates(base train.Config, o Options) []float64 {
	rate := base.FineTuneRate(o.Rank > 0)
	if o.Loss == SFT {
		return []float64{.1 * rate, .3 * rate, rate}
	}
	return []float64{.1 * rate, .3 * rate}
}

// tuning is one under way.
type tuning struct {
	Options
	Work
	d        *run.Dir
	file     *gguf.File // of the base policy
	base     *train.Model
	backbone string // its fingerprint
	pairs    []train.Pair
	data     string // key of the pairs
	left     int    // pairs that are too long
	scorer   batch.Scorer
	pace     pace
}

// Run trains, compares and writes the policy.
func Run(ctx context.Context, o Options, w Work) (_ *Report, err error) {
	t := &tuning{Options: o, Work: w, file: w.Model.Metadata()}
	if t.base, err = train.Read(t.file, func(tensor string) ([]float32, error) { return llama.Weights(t.file, tensor) }); err != nil {
		return nil, err
	}
	t.Options = o.withDefaults(t.base.Config, len(w.Validation) > 0)
	if t.Notify == nil {
		t.Notify = func(loop.Event) {}
	}
	if err := t.encode(); err != nil {
		return nil, err
	}
	if t.backbone, err = w.Model.Fingerprint(); err != nil {
		return nil, err
	}
	if len(t.Validation) > 0 {
		if err := t.checkValidation(ctx); err != nil {
			return nil, err
		}
	}
	for _, file := range []string{t.Out, t.Adapter} {
		if filepath.Clean(t.Dir) == filepath.Clean(file) {
			return nil, fault.New(op, "work", nil, "give another {work}", "%s is to be a file, and cannot be the folder of what is kept", file)
		}
	}
	if t.d, err = run.Open(t.Dir); err != nil {
		return nil, rename(err, "work")
	}
	defer t.d.Close()
	if err := t.claim(); err != nil {
		return nil, err
	}
	t.scorer = batch.Scorer{Dir: t.d, Model: t.Reward, Records: batch.Records(t.Validation, func(e prompt.Encoded) prompt.Record { return e.Record })}
	return t.run(ctx)
}

// rename tells a fault of the folder by the setting that names it here.
func rename(err error, field fault.Field) error {
	if f := (*fault.Error)(nil); errors.As(err, &f) && f.Field == "out" {
		return &fault.Error{Op: op, Field: field, Err: f.Err, Hint: "give another {" + string(field) + "}, a folder that can be made and written to"}
	}
	return err
}

// checkValidation finds out whether the validation prompts can be answered and scored, and have no pair.
func (t *tuning) checkValidation(ctx context.Context) error {
	learned := make([]prompt.Encoded, len(t.Pairs))
	for i, p := range t.Pairs {
		learned[i] = p.Prompt
	}
	for what, others := range map[string][]prompt.Encoded{"a pair": learned, "the run's evaluation": t.Tested} {
		if id, other, ok := shared(t.Validation, others); ok {
			return fault.New(op, "validation", nil, "take out of {validation} what is trained or tested on", "validation prompt %s is prompt %s of %s", id, other, what)
		}
	}
	return reward.Check(ctx, t.Reward, batch.RecordsOf(t.tasks(t.Validation)))
}

// shared finds a prompt that is in both lists.
func shared(a, b []prompt.Encoded) (id, other string, ok bool) {
	ids := map[string]string{}
	for _, p := range b {
		ids[p.Content()] = p.ID
	}
	for _, p := range a {
		if other, ok := ids[p.Content()]; ok {
			return p.ID, other, true
		}
	}
	return "", "", false
}

// claim is the content of the file that says whose a folder is.
type claim struct {
	run.Stamp
	Model    string `json:"model"`
	Backbone string `json:"backbone"`
	Pairs    string `json:"pairs"` // their key
}

const claimFile = "tuning.json"

// claim says whose the folder is, or refuses that of another model or other pairs.
func (t *tuning) claim() error {
	had, err := run.Value[claim](t.d.Path(claimFile))
	what := ""
	switch {
	case run.Absent(err):
		entries, err := os.ReadDir(t.Dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") { // such as the lock
				return fault.New(op, "work", nil, "give another {work}", "%s holds something else than a tuning, such as %s", t.Dir, e.Name())
			}
		}
		return run.Put(t.d, claimFile, run.Key(t.backbone, t.data), nil, nil, &claim{Model: t.Model.Path(), Backbone: t.backbone, Pairs: t.data})
	case err != nil:
		return err
	case had.Backbone != t.backbone:
		what = "another model, " + had.Model
	case had.Pairs != t.data:
		what = "other pairs"
	default:
		return nil
	}
	return fault.New(op, "work", nil, "give another {work}, or remove it to begin anew", "%s holds the reference log-probabilities and answers of %s", t.Dir, what)
}

// run trains and compares, setting by setting.
func (t *tuning) run(ctx context.Context) (*Report, error) {
	report := &Report{Policy: t.Out, Base: t.Model.Path(), Backbone: t.backbone, Loss: t.Loss, Pairs: len(t.pairs), Left: t.left, Validation: len(t.Validation), Samples: t.Samples}
	if err := t.reference(ctx); err != nil {
		return nil, err
	}
	var settings []*setting
	for _, beta := range t.Betas {
		for _, rate := range t.Rates {
			settings = append(settings, t.setting(beta, rate))
		}
	}
	var best *candidate
	if len(t.Validation) == 0 {
		settings = settings[:1]
		settings[0].candidates = settings[0].candidates[len(settings[0].candidates)-1:]
		best = settings[0].candidates[0]
	} else {
		base := &candidate{}
		if err := t.compare(ctx, base, "the base policy"); err != nil {
			return nil, err
		}
		report.Compared = &base.Tried
	}
	t.pace.begin(settings, t.compared())
	for i, s := range settings {
		if err := t.try(ctx, s, fmt.Sprintf("%d of %d", i+1, len(settings))); err != nil {
			return nil, err
		}
		for _, c := range s.candidates {
			if len(t.Validation) > 0 && c.Ruined == "" && (best == nil || t.better(c, best)) {
				best = c
			}
			report.Tried = append(report.Tried, &c.Tried)
		}
		if err := t.forget(settings[:i+1], best); err != nil {
			return nil, err
		}
	}
	if best == nil {
		return nil, fault.New(op, "lr", nil, "lower {lr}", "every policy that was trained is ruined: %s", settings[0].candidates[0].Ruined)
	}
	if !t.there(best) { // somebody has removed it
		if err := t.train(ctx, best.of, "again"); err != nil {
			return nil, err
		}
		if err := t.forget(settings, best); err != nil {
			return nil, err
		}
	}
	best.Chosen = true
	report.Effort = t.effort(settings)
	if err := copyFile(t.d.Path(best.policy()), t.Out); err != nil {
		return nil, err
	}
	if t.Adapter != "" {
		if err := copyFile(t.d.Path(best.adapter()), t.Adapter); err != nil {
			return nil, err
		}
	}
	return report, nil
}

// try trains a setting and compares its policies, unless that is done.
func (t *tuning) try(ctx context.Context, s *setting, number string) error {
	missing := len(t.Validation) == 0 && !t.there(s.candidates[0])
	for _, c := range s.candidates {
		if len(t.Validation) > 0 && !t.there(c) {
			done, err := t.answered(c)
			if err != nil {
				return err
			}
			missing = missing || !done
		}
	}
	if missing {
		if err := t.train(ctx, s, number); err != nil {
			return err
		}
	} else if err := t.trained(s); err != nil {
		return err
	}
	t.pace.reached(s, s.Steps, 0)
	for _, c := range s.candidates {
		if len(t.Validation) > 0 {
			if err := t.compare(ctx, c, fmt.Sprintf("policy %s, step %d", number, c.Step)); err != nil {
				return err
			}
		}
	}
	return nil
}

// better says whether a policy is to be taken rather than another one.
func (t *tuning) better(a, b *candidate) bool {
	near := func(c *candidate) bool { return t.MaxKL == 0 || c.KL.Mean <= t.MaxKL }
	switch {
	case near(a) && near(b):
		return a.Reward.Mean > b.Reward.Mean
	case !near(a) && !near(b):
		return a.KL.Mean < b.KL.Mean
	}
	return near(a)
}

// forget removes the policies that will not be taken of the settings so far. Those of later ones are kept: one
// may be the best of what was done before.
func (t *tuning) forget(settings []*setting, best *candidate) error {
	for _, s := range settings {
		for _, c := range s.candidates {
			if c == best {
				continue
			}
			for _, name := range []string{c.policy(), c.adapter()} {
				if err := os.Remove(t.d.Path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return atomicfile.Write(to, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// compared is the number of policies of a setting that are compared.
func (t *tuning) compared() int {
	if len(t.Validation) == 0 {
		return 0
	}
	return t.Keep
}

func (t *tuning) tasks(prompts []prompt.Encoded) []batch.Task {
	tasks := make([]batch.Task, len(prompts))
	for i, p := range prompts {
		tasks[i] = batch.Task{Encoded: p, Samples: t.Samples, Stop: t.Encoder.Stops(p.Record)}
	}
	return tasks
}
