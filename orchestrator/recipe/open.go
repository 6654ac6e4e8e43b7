package recipe

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/hub"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

// Options say how a recipe is opened.
type Options struct {
	AllowCommands bool          // the recipe's cmd: rewards run
	Timeout       time.Duration // for an answer of a program or a server; 0 for two minutes
	Workers       int           // see [reward.Options]
	Fleet         bool          // answers are drawn on other machines, of which this one knows nothing
	Most          Most
	Load          func(path string) (*llama.Model, error)
}

// Most says how much of a recipe is carried out at most, for a look at what it will give; 0 for all of it.
type Most struct{ Train, Validation, Test, Seeds int }

// of lessens what a recipe asks for.
func (o Most) of(r *Recipe) {
	r.Prompts.Train.most, r.Prompts.Validation.most, r.Prompts.Test.most = o.Train, o.Validation, o.Test
	if o.Seeds > 0 && len(r.Seeds) > o.Seeds {
		r.Seeds = r.Seeds[:o.Seeds]
	}
}

// Experiment is a recipe with all that it names opened. Close it after use.
type Experiment struct {
	*Recipe
	Policies []*Policy
	Rewards  []reward.Model // that which is optimised, then those that are watched
	Judging  []reward.Model // the judges
	// Drawer draws shards of answers; nil draws them on this machine.
	Drawer rollout.Drawer
	// Elsewhere has them scored on other machines; see [loop.Work].
	Elsewhere func(reward.Model) batch.Elsewhere
	Own       batch.Own // is told of what this machine draws and scores

	o       Options
	guides  map[string]*Guide
	learned map[learned]string // files of heads
	tuned   map[learned]*llama.Model
}

// learned names a value function that is learned.
type learned struct {
	value string
	seed  uint64
}

// Policy is a model of the recipe, with the prompts as it is given them.
type Policy struct {
	ID string
	*llama.Model
	Encoder          *prompt.Encoder
	Validation, Test []prompt.Encoded
	adapters         llama.Adapters
}

// Open reads the recipe at path and opens what it names. All that is wrong with it is one error.
func Open(ctx context.Context, path string, o Options) (*Experiment, error) {
	p := &Problems{Path: path}
	r, err := read(path, p)
	if err != nil {
		return nil, err
	}
	if o.Load == nil {
		o.Load = func(path string) (*llama.Model, error) { return llama.Load(path, llama.ModelParams{GPULayers: -1}) }
	}
	x := &Experiment{Recipe: r, o: o, guides: map[string]*Guide{}, learned: map[learned]string{}, tuned: map[learned]*llama.Model{}}
	o.Most.of(r)
	r.prompts(p)
	x.locate(ctx, p)
	x.openRewards(ctx, p)
	x.openPolicies(p)
	x.openRuns(p)
	x.openTuned(p)
	x.openValues(p)
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(context.Cause(ctx), x.Close())
	}
	if err := p.err(); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// Close frees what the recipe names.
func (x *Experiment) Close() error {
	var errs []error
	for _, g := range x.guides {
		errs = append(errs, g.close())
	}
	for _, m := range slices.Concat(x.Rewards, x.Judging) {
		errs = append(errs, m.Close())
	}
	for _, m := range x.tuned {
		errs = append(errs, m.Close())
	}
	for _, p := range x.Policies {
		errs = append(errs, p.Model.Close())
	}
	return errors.Join(errs...)
}

// Specs are the rewards as they are written, in the order of Rewards.
func (r *Recipe) Specs() (all []Reward) {
	return slices.Concat([]Reward{r.Reward}, r.Watch)
}

// Records are all prompts that are answered.
func (r *Recipe) Records() []prompt.Record {
	return slices.Concat(r.Prompts.Validation.Records, r.Prompts.Test.Records)
}

func (x *Experiment) openRewards(ctx context.Context, p *Problems) {
	x.Rewards = x.open(ctx, x.Specs(), p)
	x.Judging = x.open(ctx, x.Judges, p)
}

// open opens rewards, each of which is to be there once.
func (x *Experiment) open(ctx context.Context, specs []Reward, p *Problems) (out []reward.Model) {
	seen := map[string]bool{}
	for _, s := range specs {
		if s.line == 0 {
			continue // it is missing, which was said
		}
		m := x.reward(ctx, s, p)
		if m == nil {
			continue
		}
		if out = append(out, m); seen[m.Info().Name] {
			p.add(s.line, "the reward %s is there twice (write it once)", m.Info().Name)
		}
		seen[m.Info().Name] = true
	}
	return out
}

// reward opens one, and sees whether it will be able to score answers to the prompts.
func (x *Experiment) reward(ctx context.Context, s Reward, p *Problems) reward.Model {
	m, err := reward.Open(s.Spec, reward.Options{AllowCommands: x.o.AllowCommands, Timeout: x.o.Timeout, Workers: x.o.Workers})
	if errors.Is(err, reward.ErrCommand) {
		p.add(s.line, "the reward %s starts a program, which recipes may not do by themselves (look at what it starts, and allow it with %s)", s.Spec, spell("allow_commands"))
		return nil
	}
	if err == nil {
		if reward.ComparerOf(m) != nil && slices.Contains(x.Judges, s) { // what it is asked is another question
			return m
		}
		if err = reward.Check(ctx, m, x.Records()); err == nil {
			return m
		}
		m.Close()
	}
	p.fail(s.line, "", bare(err))
	return nil
}

func (x *Experiment) openPolicies(p *Problems) {
	if cpus := runtime.NumCPU(); !x.o.Fleet && x.Context.Threads > 4*cpus { // more are orders of magnitude slower, and llama.Context refuses them
		p.add(x.threads, "%d threads (this machine has %d CPUs; 0 chooses)", x.Context.Threads, cpus)
	}
	for _, m := range x.Models {
		if m.File == "" {
			continue
		}
		if !exists(m.File, m.line, p) {
			continue
		}
		model, err := x.o.Load(m.File)
		if err == nil {
			if err = model.Adapt(m.Adapters); err != nil {
				model.Close()
			}
		}
		if err != nil {
			p.fail(m.line, "", bare(err))
			continue
		}
		policy := &Policy{ID: m.ID, Model: model, adapters: m.Adapters}
		x.Policies = append(x.Policies, policy)
		x.room(policy, x.Context.Cells, x.context, "context", p)
		e := x.Encoding
		policy.Encoder, err = prompt.NewEncoder(model, prompt.Options{Chat: e.Chat, System: e.System, Template: e.Template, TemplateKwargs: e.Kwargs, ParseContent: e.ParseContent, Now: e.Date})
		switch {
		case err != nil:
			p.fail(max(m.line, e.line), "", bare(err))
			continue
		case policy.Encoder.Dated() && e.Date.IsZero():
			p.add(m.line, "the chat template of %s tells the date, so that tomorrow's prompts would be others (set encoding.date, such as %s)", m.File, time.Now().Format(time.DateOnly))
		}
		if policy.Encoder.Thinks() == nil {
			x.checkUnthinking(policy, p)
		} else if x.Rerolls > 0 {
			p.add(m.line, "ceiling: %s thinks, and continuations of a thought are not answers (leave ceiling out)", policy.Path())
		}
		x.checkBiases(policy, p)
		policy.Validation = x.encode(policy, &x.Prompts.Validation, p)
		policy.Test = x.encode(policy, &x.Prompts.Test, p)
	}
}

// room finds a context that no memory of this machine can hold: of models with a sliding window that is not foretold.
func (x *Experiment) room(policy *Policy, cells, line int, what string, p *Problems) {
	memory, need := 0.0, float64(cells)*policy.CellBytes(llama.CacheF16, llama.CacheF16)
	for _, d := range llama.Devices() {
		memory += float64(d.Total)
	}
	if !x.o.Fleet && line > 0 && memory > 0 && need > memory && policy.Info().Window == 0 {
		p.add(line, "%s: the KV cache of %d tokens takes %.0f GiB with %s, this machine has %.0f (lower context)", what, cells, need/(1<<30), policy.Path(), memory/(1<<30))
	}
}

// checkUnthinking finds methods that guide a part of what a model which marks no thoughts says.
func (x *Experiment) checkUnthinking(policy *Policy, p *Problems) {
	for i := range x.Methods {
		if m := &x.Methods[i]; m.Of(policy) {
			if err := m.Thoughts.Check(m.Strategy, false, m.Rerank); err != nil {
				p.fail(m.line, m.name(), bare(err))
			}
		}
	}
}

// checkBiases finds those of tokens that a model does not have.
func (x *Experiment) checkBiases(policy *Policy, p *Problems) {
	vocabulary := policy.Info().Vocab
	check := func(biases, said map[int32]number.Float, line int, what string) {
		for _, token := range slices.Sorted(maps.Keys(biases)) {
			if _, said := said[token]; int(token) >= vocabulary && !said {
				p.add(line, "%s: token %d has a bias, the vocabulary of %s has %d (give ids of its tokens)", what, token, policy.Path(), vocabulary)
			}
		}
	}
	check(x.Sampling.LogitBias, nil, x.biased, "sampling.logit_bias")
	for i := range x.Methods {
		if m := &x.Methods[i]; m.Of(policy) {
			check(m.Sampling.LogitBias, x.Sampling.LogitBias, m.line, m.name())
		}
	}
}

// locate puts files in the places of models that other programs keep: of ollama:MODEL and lmstudio:PUBLISHER/REPO.
func (x *Experiment) locate(ctx context.Context, p *Problems) {
	find := func(name *string, line int) {
		file, err := hub.Source{Path: *name}.Find(ctx, hub.Options{Offline: true})
		if err != nil {
			p.fail(line, "", err)
			return
		}
		*name = file
	}
	for i := range x.Models {
		find(&x.Models[i].File, x.Models[i].line)
	}
	for i := range x.Values {
		find(&x.Values[i].Source.Model, x.Values[i].line)
	}
	for i := range x.Tuned {
		find(&x.Tuned[i].File, x.Tuned[i].line)
	}
}

// exists says whether a file is there.
func exists(file string, line int, p *Problems) bool {
	_, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		p.add(line, "there is no file %s (check the path: it counts from the folder in which ivo is started)", file)
	case err != nil:
		p.add(line, "%v (check the path)", err)
	}
	return err == nil
}

// encode makes tokens of prompts, and finds those that do not fit.
func (x *Experiment) encode(policy *Policy, part *Part, p *Problems) []prompt.Encoded {
	if len(part.Records) == 0 {
		return nil
	}
	kept, left, err := prompt.Fit(policy.Encoder, part.Records, func(tokens int) error { return x.fits(policy, tokens) }, false)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("%d of %d prompts do not fit %s; prompt %s: %w", len(left), len(part.Records), policy.Path(), left[0].ID, left[0].Err)
	}
	if err != nil {
		p.fail(part.line, "", err)
	}
	return kept
}

// fits says why a prompt of so many tokens cannot be answered by some method, if it cannot.
func (x *Experiment) fits(policy *Policy, tokens int) error {
	if trained := policy.Info().ContextTrain; trained > 0 && tokens+x.MaxTokens > trained {
		return fmt.Errorf("it has %d tokens, which with an answer of up to %d are more than the %d that the model was trained with (lower max_tokens, or shorten it)", tokens, x.MaxTokens, trained)
	}
	for i := range x.Methods {
		m := &x.Methods[i]
		if need := x.Bare(m).Cells(tokens, m.Samples); need > x.Context.Cells {
			return fmt.Errorf("it has %d tokens, for which %q takes %d of context, there are %d (raise context, lower max_tokens, or shorten it)", tokens, m.ID, need, x.Context.Cells)
		}
	}
	if x.Rerolls > 0 {
		reroll := batch.Policy{Strategy: decode.Strategy{Method: decode.MethodSample}, MaxTokens: x.MaxTokens - 1} // from the first token on
		if need := reroll.Cells(tokens+1, x.Rerolls); need > x.Context.Cells {
			return fmt.Errorf("it has %d tokens, for which %d rerolls take %d of context, there are %d (raise context, lower max_tokens or ceiling.rerolls, or shorten it)", tokens, x.Rerolls, need, x.Context.Cells)
		}
	}
	return nil
}

// Bare is what a method draws by, without its value function and reward.
func (r *Recipe) Bare(m *Method) *batch.Policy {
	p := &batch.Policy{Strategy: m.Strategy, Sampling: m.Sampling, MaxTokens: r.MaxTokens, Stop: r.Stop, Thoughts: m.Thoughts}
	if !m.Sampling.Equal(r.Sampling) {
		p.Reference = &r.Sampling
	}
	return p
}

// Draw is what a method draws by under a seed.
func (x *Experiment) Draw(m *Method, seed uint64) (*batch.Policy, *Guide, error) {
	p := x.Bare(m)
	if m.Rerank {
		p.Rerank = x.Rewards[0]
	}
	if m.Value == "" {
		return p, &Guide{}, nil
	}
	g, err := x.guide(m, seed)
	if err != nil {
		return nil, nil, err
	}
	p.Value, p.ValueBy = g.Source, g.Reward
	return p, g, nil
}

// Of says whether a method answers by a policy.
func (m *Method) Of(p *Policy) bool { return m.of(p.ID) }

func (m *Method) of(model string) bool { return m.Models == nil || slices.Contains(m.Models, model) }

// runOf are the options of the run that a value function is learned from.
func runOf(l *Learn) (*loop.Options, error) {
	if _, err := os.Stat(l.Run); err != nil {
		return nil, err
	}
	return loop.ReadOptions(l.Run)
}
