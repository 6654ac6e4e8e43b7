package train

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a run. Zero values take the defaults given; only Steps must be set.
type Options struct {
	Steps       int     // minibatches in all
	BatchTokens int     // most tokens in a minibatch, 1024; raised to one example's where that is more
	LR          float64 // peak learning rate, 0.002; it falls to a tenth
	WarmUp      int     // steps of linear warm-up, a 20th of Steps
	WeightDecay float64 // of matrices, 0.01; negative for none
	Clip        float64 // largest norm of the gradient, 1
	Seed        uint64  // of the initial weights and the order of documents
	From        *Model  // start from this model's weights where the shapes agree, instead of random ones

	// Rank, where it is not 0, leaves the matrices of the model as they are and learns for each of
	// its layers' a product of that rank to be added (LoRA), and a new output with its norm. Other
	// norms and embeddings stay. The result is a model like any other.
	Rank int

	// Shards is into how many parts each minibatch is split, 8. It bounds the
	// useful number of workers and, through rounding, is part of what makes a run.
	// Each takes memory for a gradient; models of more than 16 million parameters have 4.
	Shards  int
	Workers int // goroutines, GOMAXPROCS; never changes the result

	// Checkpoint is a file that keeps the state every CheckpointEvery steps (200, of models of
	// more than 16 million parameters 20) and when the context ends. A run that finds one goes on from it. The caller
	// removes it once the model is safe.
	Checkpoint      string
	CheckpointEvery int

	// Snapshot, if set, is called Snapshots times, evenly spread over the steps and the last time after
	// the last one, with the model as it is then. A run that goes on from a checkpoint may call it again
	// for a step, with the same model.
	Snapshots int
	Snapshot  func(step int, m *Model) error

	EvalEvery int            // steps between held-out losses, a 10th of Steps; the last step always has one
	Progress  func(Progress) // called after every step, on the caller's goroutine
}

// Progress is the state of a run after a step.
type Progress struct {
	Step, Steps     int
	Loss            float64 // weighted mean over the minibatch, nats a token
	HeldOut         float64 // the latest one; 0 before the first, or without held-out documents
	TokensPerSecond float64 // of this step
}

func (o Options) withDefaults(c Config, examples []example) Options {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	setf := func(v *float64, d float64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&o.BatchTokens, 1024)
	rows, _ := largest(examples)
	o.BatchTokens = max(o.BatchTokens, rows)
	setf(&o.LR, 2e-3)
	set(&o.WarmUp, max(o.Steps/20, 1))
	setf(&o.WeightDecay, .01)
	o.WeightDecay = max(o.WeightDecay, 0)
	setf(&o.Clip, 1)
	if c.Params() > 16e6 { // whose steps take many seconds
		set(&o.Shards, 4)
		set(&o.CheckpointEvery, 20)
	}
	set(&o.Shards, 8)
	set(&o.Workers, runtime.GOMAXPROCS(0))
	set(&o.CheckpointEvery, 200)
	set(&o.EvalEvery, max(o.Steps/10, 1))
	return o
}

// Run trains a fresh model on docs and returns it. heldOut may be empty. When ctx
// ends it saves a checkpoint, if one is asked for, and returns ctx's error.
func Run(ctx context.Context, cfg Config, opts Options, docs, heldOut []Doc) (*Model, error) {
	return run(ctx, cfg, opts, objective{"next token", likelihood}, examplesOf(docs), examplesOf(heldOut))
}

// objective is what is minimised: a loss, and its name with what else makes it.
type objective struct {
	name string
	loss loss
}

func run(ctx context.Context, cfg Config, opts Options, of objective, examples, heldOut []example) (*Model, error) {
	model, err := New(cfg, opts.Seed)
	if err != nil {
		return nil, err
	}
	cfg = model.Config
	if opts.From != nil {
		if err := model.copyFrom(opts.From); err != nil {
			return nil, err
		}
	}
	if opts.Steps <= 0 {
		return nil, fmt.Errorf("train: %d steps: ask for at least 1", opts.Steps)
	}
	if opts.Rank < 0 || opts.Rank > cfg.Width || opts.Rank > 0 && opts.From == nil {
		return nil, fmt.Errorf("train: adapters of rank %d: choose 0 or more, at most the width of %d, for a model to start from", opts.Rank, cfg.Width)
	}
	if err := checkExamples("training", examples, cfg); err != nil {
		return nil, err
	}
	if len(heldOut) > 0 {
		if err := checkExamples("held-out", heldOut, cfg); err != nil {
			return nil, err
		}
	}
	opts = opts.withDefaults(cfg, examples)
	l := model.learn(opts.Rank, opts.Seed)
	t := &trainer{opts: opts, model: model, learned: l, loss: of.loss, optimizer: newOptimizer(l, opts), heldOut: heldOut}
	var at cursor
	if opts.Checkpoint != "" {
		t.fingerprint = fingerprint(cfg, opts, of.name, examples)
		if at, err = t.resume(len(examples)); err != nil {
			return nil, err
		}
		l.apply(opts.Workers)
	}
	t.opts.From = nil // which takes as much memory as the model
	t.sampler = newSampler(examples, opts.Seed, at)
	// When all of Go's processors are inside C calls, the scheduler wakes threads to
	// look for work, and the workers lose a tenth of their time to them. Idle ones stop that.
	procs := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(max(procs, opts.Workers+2))
	defer runtime.GOMAXPROCS(procs)
	if err := t.run(ctx); err != nil {
		return nil, err
	}
	return model, nil
}

// trainer is a run in progress. What a checkpoint keeps is the optimizer's state
// and the sampler's cursor.
type trainer struct {
	opts        Options
	model       *Model
	learned     *learned
	optimizer   *optimizer
	sampler     *sampler
	loss        loss
	heldOut     []example
	fingerprint string

	passes []*pass   // one a worker
	grads  []float32 // a gradient of what is learned for each shard, one after another
}

func (t *trainer) run(ctx context.Context) error {
	opts := t.opts
	most, longest := largest(t.sampler.examples)
	rows := min(opts.BatchTokens/opts.Shards+most, opts.BatchTokens, max(passRows, most))
	for range min(opts.Workers, opts.Shards) {
		t.passes = append(t.passes, newPass(t.model.Config, rows, longest, true))
	}
	t.grads = make([]float32, opts.Shards*len(t.learned.flat))

	p := Progress{Steps: opts.Steps}
	for t.optimizer.step < opts.Steps {
		if err := ctx.Err(); err != nil {
			return t.stop(err)
		}
		start := time.Now()
		batch := t.sampler.batch(opts.BatchTokens)
		var err error
		if p.Loss, err = t.step(batch); err != nil {
			return err
		}
		p.Step = t.optimizer.step
		tokens, _ := size(batch)
		p.TokensPerSecond = float64(tokens) / time.Since(start).Seconds()
		if (p.Step%opts.EvalEvery == 0 || p.Step == opts.Steps) && len(t.heldOut) > 0 {
			if p.HeldOut, err = t.model.loss(ctx, t.heldOut, t.loss, opts.Workers); err != nil {
				return t.stop(err)
			}
		}
		if opts.Snapshot != nil && slices.Contains(SnapshotSteps(opts.Steps, opts.Snapshots), p.Step) {
			if err := opts.Snapshot(p.Step, t.model); err != nil {
				return err
			}
		}
		if p.Step%opts.CheckpointEvery == 0 || p.Step == opts.Steps {
			if err := t.save(); err != nil {
				return err
			}
		}
		if opts.Progress != nil {
			opts.Progress(p)
		}
	}
	return nil
}

// SnapshotSteps are the steps after which n snapshots of a run of so many are taken, or fewer where
// there are not as many steps.
func SnapshotSteps(steps, n int) (at []int) {
	for k := range n {
		if step := steps * (k + 1) / n; step > 0 && !slices.Contains(at, step) {
			at = append(at, step)
		}
	}
	return at
}

// stop keeps the state of a run that was cancelled.
func (t *trainer) stop(cause error) error {
	if err := t.save(); err != nil {
		return err
	}
	return fmt.Errorf("train: stopped after step %d of %d: %w", t.optimizer.step, t.opts.Steps, cause)
}

// step does one minibatch and returns its mean loss.
func (t *trainer) step(batch []example) (float64, error) {
	shards := split(batch, t.opts.Shards)
	_, total := size(batch)
	scale := 1 / math.Max(total, 1e-6)
	w := t.model.Config.view(t.model.params)
	losses := make([]float64, len(shards))
	parallel(len(t.passes), len(shards), func(worker, i int) {
		n := len(t.learned.flat)
		p, flat := t.passes[worker], t.grads[i*n:(i+1)*n]
		if len(shards[i]) == 0 {
			clear(flat)
			return
		}
		g := t.learned.gradient(flat)
		for k, some := range chunks(shards[i]) {
			p.load(some)
			p.forward(w)
			losses[i] += p.loss(t.loss, scale)
			p.backward(w, g, k > 0)
		}
	})
	sum := 0.0
	for _, l := range losses {
		sum += l
	}
	if err := t.optimizer.update(t.grads, len(shards)); err != nil {
		return 0, err
	}
	t.learned.apply(t.opts.Workers)
	return sum * scale, nil
}

// Loss is the mean of -log p(token) over the documents' tokens after the first,
// weighted, in nats. The number of workers (0 for GOMAXPROCS) does not change it.
func (m *Model) Loss(ctx context.Context, docs []Doc, workers int) (float64, error) {
	examples := examplesOf(docs)
	if err := checkExamples("given", examples, m.Config); err != nil {
		return 0, err
	}
	return m.loss(ctx, examples, likelihood, workers)
}

// loss is the mean of a loss over examples.
func (m *Model) loss(ctx context.Context, examples []example, f loss, workers int) (float64, error) {
	sums := make([]float64, len(examples))
	err := m.each(ctx, examples, workers, func(first int, p *pass) { sums[first] = p.loss(f, 0) })
	sum := 0.0
	for _, s := range sums {
		sum += s
	}
	_, total := size(examples)
	return sum / math.Max(total, 1e-6), err
}

// each runs the examples through the model, a few at a time, and calls f after each few with
// the place of the first of them and what forward has made of them. Calls may overlap.
func (m *Model) each(ctx context.Context, examples []example, workers int, f func(first int, p *pass)) error {
	groups := chunks(examples)
	first := make([]int, len(groups)+1)
	for i, g := range groups {
		first[i+1] = first[i] + len(g)
	}
	all, _ := size(examples)
	most, longest := largest(examples)
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	passes := make([]*pass, min(workers, len(groups)))
	w := m.Config.view(m.params)
	parallel(len(passes), len(groups), func(worker, i int) {
		if ctx.Err() != nil {
			return
		}
		p := passes[worker]
		if p == nil {
			p = newPass(m.Config, min(all, max(passRows, most)), longest, false)
			passes[worker] = p
		}
		p.load(groups[i])
		p.forward(w)
		f(first[i], p)
	})
	return ctx.Err()
}

// parallel calls f(worker, i) for each i below n, on as many goroutines as workers.
func parallel(workers, n int, f func(worker, i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for worker := range min(workers, n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(worker, i)
			}
		})
	}
	wg.Wait()
}
