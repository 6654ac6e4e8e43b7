// Package experiment carries out recipes: it learns the value functions that they ask for, answers their
// prompts by every method under every seed, asks the rewards, chooses settings on the validation prompts, and
// compares the methods on the test prompts.
//
// What takes work is a file whose name or stamp is the key of all that it depends on. So an experiment
// that was stopped goes on, and one whose recipe has changed does anew what that concerns.
package experiment

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Names of an experiment's results, below its folder.
const (
	EvaluationFile = "eval.json"
	SamplesFile    = "samples.jsonl"
	ParquetFile    = "samples.parquet"
	ReportFile     = "report.html"
)

// Event tells how far a stage of the experiment is.
type Event struct {
	Stage       string
	Done, Total int
	Unit        string
	Note        string // how long the rest takes, about
}

// Results are what an experiment gave.
type Results struct {
	Evaluation
	Answers []MethodAnswers // to the test prompts, one element for each of Evaluation's rows
}

// MethodAnswers are a method's answers to the test prompts of a policy, [seed][prompt x sample].
type MethodAnswers struct {
	Policy  *recipe.Policy
	Method  *recipe.Method
	Samples [][]Sample
}

// Taken are the method's answers under a seed, by its number in the recipe: the first to each prompt.
func (a *MethodAnswers) Taken(seed int) (out []Sample) {
	for at := 0; at < len(a.Samples[seed]); at += a.Method.Samples {
		answer, _ := takingOf(a.Method).Best(a.Samples[seed][at : at+a.Method.BestOf])
		out = append(out, answer)
	}
	return out
}

// work is an experiment under way.
type work struct {
	x       *recipe.Experiment
	d       *run.Dir
	scorers []*batch.Scorer   // of the rewards
	known   map[string]*shard // by key
	cells   string            // folder in which cells are kept; "" for none
	only    bool              // no cells are made
	ready   map[prepared]bool // value functions
	looped  map[string]bool   // runs of the recipe, by key
	notify  func(Event)

	mu          sync.Mutex
	event       Event
	begun       time.Time // of the first shard that was drawn
	spent, left int       // tokens at most of what was drawn, and of what is to be
}

// begin begins a stage.
func (w *work) begin(stage string, total int, unit string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.event = Event{Stage: stage, Total: total, Unit: unit}
}

// count tells of what is done.
func (w *work) count(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.event.Done += n
	w.event.Note = ""
	if w.spent > 0 && w.left > 0 {
		rest := time.Duration(float64(time.Since(w.begun)) * float64(w.left) / float64(w.spent))
		w.event.Note = fmt.Sprintf("about %v left", rest.Round(max(time.Second, rest.Round(time.Minute)/60)))
	}
	w.notify(w.event)
}

// at tells how far a stage is whose units are known only as it goes on.
func (w *work) at(done, total int, unit string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.event.Done, w.event.Total, w.event.Unit = done, total, unit
	w.notify(w.event)
}

// drawn takes note of a shard.
func (w *work) drawn(cost int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spent += cost
	w.left -= cost
}

func begun(x *recipe.Experiment, notify func(Event)) *work {
	w := &work{x: x, known: map[string]*shard{}, ready: map[prepared]bool{}, looped: map[string]bool{}, notify: notify}
	if w.notify == nil {
		w.notify = func(Event) {}
	}
	return w
}

// open opens the folder in which an experiment is carried out.
func (w *work) open(dir string) (err error) {
	if err := run.Expect(dir, true); err != nil {
		return err
	}
	if w.d, err = run.Open(dir); err != nil {
		return err
	}
	for _, m := range w.x.Rewards {
		s := &batch.Scorer{Dir: w.d, Model: m, Own: w.x.Own}
		if w.x.Elsewhere != nil {
			s.Elsewhere = w.x.Elsewhere(m)
		}
		w.scorers = append(w.scorers, s)
	}
	return nil
}

// Run carries out the experiment in a folder, or goes on with it.
func Run(ctx context.Context, x *recipe.Experiment, dir string, notify func(Event)) (*Results, error) {
	w := begun(x, notify)
	if err := w.open(dir); err != nil {
		return nil, err
	}
	defer w.d.Close()
	chosen, _, err := w.choose(ctx)
	if err != nil {
		return nil, err
	}
	outcomes, samples, err := w.test(ctx, chosen)
	if err != nil {
		return nil, err
	}
	var answers []MethodAnswers
	for i, o := range outcomes {
		answers = append(answers, MethodAnswers{o.Policy, o.Method, samples[i]})
	}
	judged, err := w.judge(ctx, answers)
	if err != nil {
		return nil, err
	}
	ceilings, err := w.ceilings(ctx)
	if err != nil {
		return nil, err
	}
	e, err := w.evaluation(chosen, outcomes)
	if err != nil {
		return nil, err
	}
	e.Judged, e.Ceilings = judged, ceilings
	r := &Results{*e, answers}
	return r, w.write(r)
}

// Keeping says where an experiment's cells are kept.
type Keeping struct {
	Dir    string // of what they are made of, which is not needed where they are
	Cells  string
	Only   bool // nothing is made: methods that lack a cell are left out
	Notify func(Event)
}

// Kept are the results of an experiment whose cells are kept.
type Kept struct {
	Evaluation
	Outcomes []Outcome // one for each of Evaluation's rows
	Learned  []Learned // by the recipe's runs, as far as it is known
	Missing  []string  // methods that were left out
}

// Keep carries out the experiment as far as its cells are not there yet, and keeps those in a folder of their own:
// runs are made and answers drawn for what is missing alone. Judges and ceilings, which take more than cells have,
// are left out.
func Keep(ctx context.Context, x *recipe.Experiment, k Keeping) (*Kept, error) {
	w := begun(x, k.Notify)
	if w.cells, w.only = k.Cells, k.Only; !k.Only {
		if err := w.open(k.Dir); err != nil {
			return nil, err
		}
		defer w.d.Close()
	}
	chosen, undecided, err := w.choose(ctx)
	if err != nil {
		return nil, err
	}
	outcomes, _, err := w.test(ctx, chosen)
	if err != nil {
		return nil, err
	}
	kept := &Kept{Missing: undecided}
	whole := slices.DeleteFunc(slices.Clone(outcomes), func(o Outcome) bool {
		first := slices.IndexFunc(outcomes, func(x Outcome) bool { return x.Policy == o.Policy }) // which it is compared with
		lacks := slices.Contains(o.Cells, nil) || slices.Contains(outcomes[first].Cells, nil)
		if lacks {
			kept.Missing = append(kept.Missing, o.Method.ID)
		}
		return lacks
	})
	e, err := w.evaluation(chosen, whole)
	if err != nil {
		return nil, err
	}
	kept.Evaluation, kept.Outcomes = *e, whole
	kept.Learned, err = w.allLearned()
	return kept, err
}

// choice is a method's variations of one policy, of which one is taken.
type choice struct {
	policy *recipe.Policy
	base   Row // of the first method, where something has to stay within what it has
	tried  []*recipe.Method
	rows   []Row // of these, on the validation prompts
	taken  int
	none   bool // may be chosen: what was taken is the nearest
}

// choose answers the validation prompts by the methods whose settings are chosen. Undecided are the families of those
// that lack a cell where none are made.
func (w *work) choose(ctx context.Context) (chosen []*choice, undecided []string, err error) {
	var all []*choice
	for _, p := range w.x.Policies {
		for i := range w.x.Methods {
			m := &w.x.Methods[i]
			if m.Choose == nil || !m.Of(p) {
				continue
			}
			at := slices.IndexFunc(all, func(c *choice) bool { return c.policy == p && c.tried[0].Entry == m.Entry })
			if at < 0 {
				at, all = len(all), append(all, &choice{policy: p})
			}
			all[at].tried = append(all[at].tried, m)
		}
	}
	var wants []want
	for _, c := range all {
		rewards := 1
		if c.tried[0].Choose.Within != nil {
			rewards = len(w.x.Rewards)
			wants = append(wants, want{c.policy, w.first(c.policy), c.policy.Validation, rewards})
		}
		for _, m := range c.tried {
			wants = append(wants, want{c.policy, m, c.policy.Validation, rewards})
		}
	}
	cells, _, err := w.gather(ctx, "choose", wants)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range all {
		resampling := eval.NewResampling(len(c.policy.Validation), len(w.x.Seeds), 1)
		lacks := false // a cell
		row := func(m *recipe.Method) (r Row) {
			if lacks = lacks || slices.Contains(cells[0], nil); !lacks {
				r = rowOf(c.policy, m, cells[0], nil, resampling)
			}
			cells = cells[1:]
			return r
		}
		if c.tried[0].Choose.Within != nil {
			c.base = row(w.first(c.policy))
		}
		for _, m := range c.tried {
			c.rows = append(c.rows, row(m))
		}
		if lacks {
			undecided = append(undecided, c.tried[0].Family)
			continue
		}
		c.take(w.name)
		chosen = append(chosen, c)
	}
	return chosen, undecided, nil
}

// first is the method of a policy that its others are compared with.
func (w *work) first(p *recipe.Policy) *recipe.Method {
	return &w.x.Methods[slices.IndexFunc(w.x.Methods, func(m recipe.Method) bool { return m.Of(p) })]
}

// name is what a watched reward is called in the results.
func (w *work) name(spec string) string {
	at := slices.IndexFunc(w.x.Watch, func(r recipe.Reward) bool { return r.Spec == spec })
	return w.x.Rewards[1+at].Info().Name
}

// take takes the variation of the largest reward among those that may be chosen: that stay near enough to the
// base policy, and within what the first method has of other rewards. Where none may, it takes the nearest.
func (c *choice) take(name func(spec string) string) {
	may := func(r Row) bool {
		of := c.tried[0].Choose
		if of.MaxKL > 0 && r.KLKind == decode.KLExact && r.KL.Mean > of.MaxKL {
			return false
		}
		return !slices.ContainsFunc(of.Within, func(x recipe.Within) bool {
			return r.Others[name(x.Watch)].Mean < c.base.Others[name(x.Watch)].Mean-x.Room
		})
	}
	better := func(a, b Row) int {
		switch {
		case may(a) && may(b):
			return cmp.Compare(a.Reward.Mean, b.Reward.Mean)
		case may(a):
			return 1
		case may(b):
			return -1
		}
		return cmp.Compare(b.KL.Mean, a.KL.Mean)
	}
	for i := range c.rows {
		if better(c.rows[i], c.rows[c.taken]) > 0 {
			c.taken = i
		}
	}
	c.none = !may(c.rows[c.taken])
}

// test answers the test prompts by the methods, those that were chosen among them.
func (w *work) test(ctx context.Context, chosen []*choice) (out []Outcome, samples [][][]Sample, err error) {
	var wants []want
	for _, p := range w.x.Policies {
		for i := range w.x.Methods {
			m := &w.x.Methods[i]
			if !m.Of(p) || m.Choose != nil && !slices.ContainsFunc(chosen, func(c *choice) bool { return c.policy == p && c.tried[c.taken] == m }) {
				continue
			}
			out, wants = append(out, Outcome{Policy: p, Method: m}), append(wants, want{p, m, p.Test, len(w.x.Rewards)})
		}
	}
	cells, samples, err := w.gather(ctx, "test", wants)
	for i := range cells {
		out[i].Cells = cells[i]
	}
	return out, samples, err
}

// unique are the shards of several methods, each once, in their order.
func unique(all [][]*shard) (out []*shard) {
	seen := map[*shard]bool{}
	for _, s := range slices.Concat(all...) {
		if !seen[s] {
			seen[s], out = true, append(out, s)
		}
	}
	return out
}

// expect takes note of what is to be drawn.
func (w *work) expect(shards []*shard) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.spent, w.left = time.Now(), 0, 0
	done := 0
	for _, s := range shards {
		if s.done {
			done++
		} else {
			w.left += s.cost()
		}
	}
	slog.Debug("to draw", "shards", len(shards)-done, "done", done)
}
