// Package loop runs iterative value function optimization (IVO, arXiv 2503.02368) from
// end to end: collect trajectories, score them, train a value function on their states,
// collect again with the policy that it guides, and evaluate.
//
// A run lives in a directory. Every finished file is noted in its manifest, so a run
// that was killed goes on where it was, and ends with the files of an undisturbed one.
package loop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Event tells how far a stage of the run is.
type Event struct {
	Stage       string // such as "round 1: collect"
	Done, Total int
	Unit        string // what is counted
	Note        string // what is known so far, such as a loss
}

// run is a run under way.
type run struct {
	o       Options
	dir     string
	ledger  *ledger
	model   *llama.Model
	pool    *engine.Pool
	schema  states.Schema
	reward  reward.Model
	prompts []prompt.Record
	test    []prompt.Record
	notify  func(Event)
}

// Run begins or continues the run in dir. notify, if set, is told of progress; calls
// never overlap.
func Run(ctx context.Context, dir string, o Options, m *llama.Model, notify func(Event)) (err error) {
	if err := o.Validate(); err != nil {
		return err
	}
	r := &run{o: o, dir: dir, model: m, notify: serialize(notify)}
	if r.reward, err = reward.Open(o.Reward, o.Scoring); err != nil {
		return err
	}
	defer r.reward.Close()
	if r.prompts, err = prompt.Read(o.Prompts, prompt.ReadOptions{}); err != nil {
		return err
	}
	if o.EvalPrompts != "" {
		if r.test, err = prompt.Read(o.EvalPrompts, prompt.ReadOptions{}); err != nil {
			return err
		}
		if err := disjoint(r.prompts, r.test); err != nil {
			return err
		}
	}
	if err := r.fit(); err != nil {
		return err
	}
	if c, ok := r.reward.(reward.Checker); ok {
		if err := c.Check(ctx, slices.Concat(r.prompts, r.test)); err != nil {
			return err
		}
	}
	if r.schema, err = rollout.Schema(m, o.Layers); err != nil {
		return err
	}
	if err := r.identify(); err != nil {
		return err
	}
	if err := vacant(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("%w (give --out a directory that can be made and written to)", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := r.o.store(dir); err != nil {
		return err
	}
	if err := clean(dir); err != nil {
		return err
	}
	if r.ledger, err = openLedger(dir); err != nil {
		return err
	}
	r.pool, err = engine.NewPool(m, engine.Params{Ctx: o.Ctx, Sequences: o.Parallel, Threads: o.Threads, Layers: o.Layers}, 0)
	if err != nil {
		return err
	}
	defer r.pool.Close()

	var heads []*valuehead.Head
	for round := 1; round <= o.Rounds; round++ {
		head, err := r.round(ctx, round, heads)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		heads = append(heads, head)
	}
	if r.test == nil {
		return nil
	}
	return r.evaluate(ctx, heads)
}

// serialize lets goroutines share notify.
func serialize(notify func(Event)) func(Event) {
	var mu sync.Mutex
	return func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if notify != nil {
			notify(e)
		}
	}
}

// disjoint sees to it that nothing is tested on what it was trained on.
func disjoint(train, test []prompt.Record) error {
	seen := make(map[string]bool, len(train))
	for _, p := range train {
		seen[p.Text] = true
	}
	for _, p := range test {
		if seen[p.Text] {
			return fmt.Errorf("test prompt %s is a training prompt too (evaluate on prompts that were not trained on)", p.ID)
		}
	}
	return nil
}

// identify fills in what the run's inputs are.
func (r *run) identify() error {
	in := &r.o.Inputs
	in.Backbone = r.schema.Backbone
	for _, f := range []struct {
		path string
		hash *string
	}{{r.o.Prompts, &in.Prompts}, {r.o.EvalPrompts, &in.EvalPrompts}} {
		if f.path == "" {
			continue
		}
		file, err := identify(f.path)
		if err != nil {
			return err
		}
		*f.hash = file.XXHash
	}
	return nil
}

// vacant refuses a folder that holds something else than a run.
func vacant(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w (give another --out)", err)
	}
	known := func(e fs.DirEntry) bool { return e.Name() == optionsFile || e.Name() == lockFile }
	if slices.ContainsFunc(entries, known) {
		return nil
	}
	return fmt.Errorf("%s is not empty and holds no run (give another --out)", dir)
}

// clean removes what a killed process left half-written.
func clean(dir string) error {
	dirs, err := filepath.Glob(filepath.Join(dir, "iter-*", "*"))
	if err != nil {
		return err
	}
	rounds, err := filepath.Glob(filepath.Join(dir, "iter-*"))
	if err != nil {
		return err
	}
	for _, d := range slices.Concat([]string{dir, filepath.Join(dir, "eval")}, rounds, dirs) {
		if err := atomicfile.Clean(d); err != nil {
			return err
		}
	}
	return nil
}

// fit sees to it that every prompt fits the context with all that is decoded for it.
func (r *run) fit() error {
	for _, p := range slices.Concat(r.prompts, r.test) {
		tokens, err := r.model.Tokenize(p.Text, true, false)
		if err != nil {
			return fmt.Errorf("prompt %s: %w", p.ID, err)
		}
		n, t := len(tokens), r.o.MaxTokens
		need := n + r.o.Samples*t
		for _, s := range r.o.strategies() {
			need = max(need, s.Cells(n, t))
		}
		if need > r.o.Ctx {
			return fmt.Errorf("prompt %s has %d tokens; with all candidates of up to %d tokens it takes %d of context, there are %d (raise -c, lower -n or --beams, or shorten the prompt)", p.ID, n, t, need, r.o.Ctx)
		}
	}
	return nil
}

// path names a file of a round, below the run directory.
func path(round int, elem ...string) string {
	return filepath.Join(append([]string{fmt.Sprintf("iter-%02d", round)}, elem...)...)
}

// round collects the trajectories of a round and trains its head.
func (r *run) round(ctx context.Context, round int, heads []*valuehead.Head) (*valuehead.Head, error) {
	for _, sub := range []string{"trajectories", "states"} {
		if err := os.MkdirAll(filepath.Join(r.dir, path(round, sub)), 0o755); err != nil {
			return nil, err
		}
	}
	if err := r.collect(ctx, round, heads); err != nil {
		return nil, err
	}
	name, metrics := path(round, "head.gguf"), path(round, "metrics.json")
	switch done, err := r.ledger.has(name, metrics); {
	case err != nil:
		return nil, err
	case done:
		head, err := valuehead.Load(filepath.Join(r.dir, name))
		if err != nil {
			return nil, err
		}
		return head, head.CheckBackbone(r.schema.Backbone)
	}
	head, report, err := r.train(ctx, round, heads)
	if err != nil {
		return nil, err
	}
	if err := head.Save(filepath.Join(r.dir, name)); err != nil {
		return nil, err
	}
	data, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		return nil, err
	}
	if err := atomicfile.WriteBytes(filepath.Join(r.dir, metrics), append(data, '\n')); err != nil {
		return nil, err
	}
	return head, r.ledger.add(name, metrics)
}

// shards are the prompts of a round, cut up.
func (r *run) shards(round int) [][]prompt.Record {
	prompts := r.prompts
	if n := r.o.RoundPrompts; round > 1 && n > 0 && n < len(prompts) {
		// Each later round takes the next stretch of the prompts, so that it sees others.
		rotated := slices.Concat(prompts, prompts)
		from := (round - 2) * n % len(prompts)
		prompts = rotated[from : from+n]
	}
	return slices.Collect(slices.Chunk(prompts, r.o.ShardPrompts))
}

func shardFiles(round, shard int) (trajectories, states string) {
	n := fmt.Sprintf("%04d", shard)
	return path(round, "trajectories", n+".jsonl.zst"), path(round, "states", n+".states")
}

func (r *run) collect(ctx context.Context, round int, heads []*valuehead.Head) error {
	p := rollout.Policy{
		Strategy: decode.Strategy{Method: decode.MethodSample},
		Sampling: r.o.Sampling, MaxTokens: r.o.MaxTokens, Stop: r.o.Stop,
	}
	if round > 1 {
		p.Strategy = decode.Strategy{Method: decode.MethodBlockBeam, Beam: r.o.Collect}
		p.Value = decode.HeadSource(heads[len(heads)-1], valuehead.Reading{})
	}
	shards := r.shards(round)
	event := Event{Stage: fmt.Sprintf("round %d: collect", round), Unit: "prompts"}
	for _, s := range shards {
		event.Total += len(s)
	}
	var mu sync.Mutex
	return r.pool.Each(ctx, len(shards), func(ctx context.Context, e *engine.Engine, i int) error {
		tf, sf := shardFiles(round, i)
		done, err := r.ledger.has(tf, sf)
		if err != nil {
			return err
		}
		if !done {
			shard, err := rollout.Collect(ctx, e, p, shards[i], r.reward, r.o.Samples, r.o.Seed, round)
			if err != nil {
				return err
			}
			if err := states.Write(filepath.Join(r.dir, sf), r.schema, shard.Prompts, shard.States); err != nil {
				return err
			}
			if err := rollout.WriteTrajectories(filepath.Join(r.dir, tf), shard.Trajectories); err != nil {
				return err
			}
			if err := r.ledger.add(tf, sf); err != nil {
				return err
			}
		}
		mu.Lock()
		defer mu.Unlock()
		event.Done += len(shards[i])
		r.notify(event)
		return nil
	})
}

// Metrics tell what a round collected and how its head was trained.
type Metrics struct {
	Round        int               `json:"round"`
	Trajectories int               `json:"trajectories"` // of this round
	Reward       MeanSD            `json:"reward"`       // of this round's trajectories
	Tokens       float64           `json:"tokens"`       // mean length of this round's responses
	Head         string            `json:"head"`
	Parameters   int               `json:"parameters"`
	Training     *valuehead.Report `json:"training"`
}

// MeanSD is a mean and a standard deviation.
type MeanSD struct {
	Mean float64 `json:"mean"`
	SD   float64 `json:"sd"`
}

func (r *run) train(ctx context.Context, round int, heads []*valuehead.Head) (*valuehead.Head, *Metrics, error) {
	features, err := valuehead.NewFeatures(r.schema, valuehead.FeaturesOf(valuehead.Kind(r.o.Head.Kind)))
	if err != nil {
		return nil, nil, err
	}
	metrics := &Metrics{Round: round}
	first := 1
	if r.o.Head.LastRoundOnly {
		first = round
	}
	var paths []string
	for k := first; k <= round; k++ {
		for i := range r.shards(k) {
			_, sf := shardFiles(k, i)
			paths = append(paths, filepath.Join(r.dir, sf))
		}
	}
	returns, err := rollout.Returns(paths)
	if err != nil {
		return nil, nil, err
	}
	data, err := valuehead.OpenStored(features, paths, returns)
	if err != nil {
		return nil, nil, err
	}
	var sum, squares float64
	for i := range r.shards(round) {
		tf, _ := shardFiles(round, i)
		ts, err := rollout.ReadTrajectories(filepath.Join(r.dir, tf))
		if err != nil {
			return nil, nil, err
		}
		for _, t := range ts {
			sum, squares = sum+t.Reward, squares+t.Reward*t.Reward
			metrics.Trajectories++
			metrics.Tokens += float64(len(t.Tokens))
		}
	}
	n := float64(metrics.Trajectories)
	metrics.Reward = MeanSD{sum / n, math.Sqrt(max(0, squares/n-sum/n*sum/n))}
	metrics.Tokens /= n

	options := valuehead.TrainOptions{
		Kind: valuehead.Kind(r.o.Head.Kind), Shape: valuehead.Shape{Hidden: r.o.Head.Hidden, Atoms: r.o.Head.Atoms, Match: valuehead.Match(r.o.Head.Match)},
		Epochs: r.o.Head.Epochs, Rate: r.o.Head.Rate,
		Seed: r.o.Seed, Progress: func(p valuehead.Progress) {
			r.notify(Event{
				Stage: fmt.Sprintf("round %d: train", round), Done: p.Step, Total: p.Steps, Unit: "steps",
				Note: fmt.Sprintf("loss %.3f, held out %.3f, R^2 %.2f", p.TrainLoss, p.HeldOutLoss, p.HeldOutR2),
			})
		},
	}
	if r.o.Head.WarmStart && len(heads) > 0 {
		options.From = heads[len(heads)-1]
	}
	head, report, err := valuehead.Train(ctx, data, options)
	if err != nil {
		return nil, nil, err
	}
	metrics.Head, metrics.Parameters, metrics.Training = string(head.Kind()), head.Parameters(), report
	return head, metrics, nil
}
