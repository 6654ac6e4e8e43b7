package valuehead

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// op is what faults of this package say was tried.
const op = "valuehead"

// TrainOptions says how to train a head. Zero values mean the defaults stated; where
// "off" is possible, a negative value is it.
type TrainOptions struct {
	Kind        Kind    // default MLP
	Shape       Shape   // of the head
	Hidden      int     // shorthand for Shape.Hidden
	Spread      Spread  // of a categorical head's targets; default TwoHot
	Target      Target  // default MonteCarloReturn
	Lambda      float64 // of TDLambda; default 0.95, below 0 for 0
	Dropout     float64 // of hidden layers; default 0.3, of Recall 0.1
	Epochs      int     // at most; default 4: the states of a response share one return, so heads overfit soon; of Recall 5
	Batch       int     // states in a minibatch, at least; default 1024
	Rate        float64 // peak learning rate of AdamW; default 0.002, of Preference 0.0005
	WeightDecay float64 // of AdamW: a step shrinks weights by Rate*WeightDecay; default 1, of Recall 0.1
	Warmup      float64 // share of the steps over which the rate rises; default 0.05
	Patience    int     // epochs without a better held-out loss before stopping; default 3
	HeldOut     float64 // share of the prompts held out; default 0.1
	Seed        uint64
	Workers     int // goroutines; default one a core. The result does not depend on it.

	// Ridge fits a linear head in closed form, its penalty chosen by cross-validation over the
	// prompts of training: least squares with few prompts and many columns. With Embeddings it
	// also reads the sum of those of the response's tokens.
	Ridge bool
	// Embeddings of the model's tokens make Train fit [Advantages] beside the head; those of
	// kind Additive must have them.
	Embeddings Embeddings
	// Temp is the temperature that the responses were drawn with, at which the unit of advantages is
	// measured; 0 for 1.
	Temp float64
	// Noise is the share of pairs whose sides are swapped, where it is known, of Preference: see [Surprise].
	Noise float64
	bare  bool // without advantages all the same

	// From is a head to begin from, of the same kind, size and features; its scales of
	// inputs and rewards are kept, and what tokens add to a linear one. Nil trains a fresh one. What is fitted in closed form, as
	// advantages are, does not begin from anything.
	From *Head
	// Progress, when set, is called after every minibatch and after every epoch.
	Progress func(Progress)
}

// Progress is how far training has come. Losses are those of a state: 1/2 (V - R)^2 in
// units of the reward's variance, so that 0.5 is what the mean reward gives; of a
// categorical head the divergence of its distribution from the target's, in nats.
type Progress struct {
	Step, Steps   int // minibatches, over all epochs
	Epoch, Epochs int // finished
	TrainLoss     float64
	HeldOutLoss   float64 // after the last epoch; before that, of the head at the start
	HeldOutR2     float64 // after the last epoch
}

// Epoch is one line of the learning curve, losses as in [Progress].
type Epoch struct {
	TrainLoss   float64 `json:"train_loss"`
	HeldOutLoss float64 `json:"held_out_loss"`
	HeldOutR2   float64 `json:"held_out_r2"`
}

// Report tells how training went; of an ensemble, all but HeldOut is of its first member.
type Report struct {
	HeldOut Metrics      `json:"held_out"` // of the head that was kept
	Start   float64      `json:"start"`    // held-out loss before training
	Epochs  []Epoch      `json:"epochs"`
	Best    int          `json:"best"`            // epochs until the head that was kept; 0 is the start
	Ridge   *RidgeReport `json:"ridge,omitempty"` // of a fit in closed form
	// Additive tells of the advantages; nil without.
	Additive *AdditiveReport `json:"additive,omitempty"`
}

var (
	errFeatures = errors.New("valuehead: the head and the data have different features (build the dataset with the head's own features)")
	errDiverged = fault.New(op, "lr", nil, "choose a lower {lr}", "training diverged: the loss is not finite")
)

// resolve fills in the defaults.
func (o TrainOptions) resolve() (TrainOptions, error) {
	o.defaults()
	if o.closed() {
		o.From = nil
	}
	return o, o.validate()
}

// closed reports whether the head is fitted in closed form.
func (o *TrainOptions) closed() bool { return o.Kind == Additive || o.Ridge }

func (o *TrainOptions) defaults() {
	set := func(v *float64, to float64) {
		if *v == 0 {
			*v = to
		}
		*v = max(*v, 0)
	}
	if o.Kind == "" {
		o.Kind = MLP
	}
	dropout, decay, epochs := 0.3, 1.0, 4
	if o.Kind == Recall {
		dropout, decay, epochs = 0.1, 0.1, 5
	}
	set(&o.Dropout, dropout)
	set(&o.WeightDecay, decay)
	set(&o.Warmup, 0.05)
	set(&o.Lambda, 0.95)
	if o.HeldOut == 0 {
		o.HeldOut = defaultHeldOut
	}
	if o.Rate == 0 {
		o.Rate = 0.002
		if o.Target == Preference { // which tells little at a time: at four times this the lab's heads forget what they found
			o.Rate = 0.0005
		}
	}
	if o.Shape.Hidden == 0 {
		o.Shape.Hidden = o.Hidden
	}
	for _, n := range []struct {
		v  *int
		to int
	}{{&o.Epochs, epochs}, {&o.Batch, 1024}, {&o.Patience, 3}, {&o.Workers, runtime.GOMAXPROCS(0)}} {
		if *n.v == 0 {
			*n.v = n.to
		}
	}
	if o.Target == "" {
		o.Target = MonteCarloReturn
	}
	if o.Spread == "" {
		o.Spread = TwoHot
	}
}

func (o *TrainOptions) validate() error {
	switch {
	case o.Hidden < 0 || o.Epochs < 0 || o.Batch < 0 || o.Patience < 0 || o.Workers < 0:
		return fault.New(op, "epochs", 0, "leave it zero for the default", "a negative size, or number of epochs, states, epochs to wait or workers")
	case !(o.Rate > 0) || math.IsInf(o.Rate, 0):
		return fault.New(op, "lr", nil, "choose a positive {lr}, such as 0.002", "learning rate %v", o.Rate)
	case !(o.Dropout < 1):
		return fault.New(op, "", 1, "choose one below 1", "dropout %v", o.Dropout)
	case !(o.Lambda >= 0 && o.Lambda <= 1):
		return fault.New(op, "", 1, "choose one from 0 to 1, such as 0.95", "lambda %v", o.Lambda)
	case o.Spread != HLGauss && o.Spread != TwoHot:
		return fault.New(op, "", nil, fmt.Sprintf("choose %s or %s", HLGauss, TwoHot), "unknown spread %q", o.Spread)
	}
	if !(o.Noise >= 0 && o.Noise < 0.5) {
		return fault.New(op, "", 0.5, "choose one below .5, or 0", "a share %v of the pairs is swapped", o.Noise)
	}
	if o.Target == Preference && (o.Shape.Atoms > 0 || o.Shape.Members > 1 || o.closed()) {
		return fault.New(op, "atoms", 0, "choose 0 as {atoms}, one member, and a head that is trained by steps", "pairs teach one number of a response, by steps")
	}
	if o.Kind == Additive {
		switch {
		case o.Embeddings == nil:
			return fault.New(op, "", nil, "give {model}, or choose another kind of head", "an additive head is fitted to the embeddings of the model's tokens, which are missing")
		case o.Target != MonteCarloReturn && o.Target != FUDGE:
			return fault.New(op, "", nil, fmt.Sprintf("choose %s or %s", MonteCarloReturn, FUDGE), "an additive head is fitted to returns, not to the target %s", o.Target)
		case o.Shape.Atoms > 0 || o.Shape.Members > 1:
			return fault.New(op, "atoms", 0, "choose 0 as {atoms} and one member, or another kind of head", "an additive head gives the mean of the return alone, and always the same")
		}
	}
	if o.Ridge {
		switch {
		case o.Kind != Linear:
			return fault.New(op, "", Linear, "choose a linear head, or train it by steps", "a %s head cannot be fitted in closed form", o.Kind)
		case o.Shape.Atoms > 0 || o.Shape.Members > 1:
			return fault.New(op, "atoms", 0, "choose 0 as {atoms} and one member", "a fit in closed form gives the mean of the return alone, and always the same")
		}
	}
	return o.Target.validate()
}

// Train fits a head to the states of the source's training prompts, and keeps the
// parameters that were best on the held-out ones: a prompt is held out or not by a hash
// of its name, so it stays so in later rounds and for other seeds. The same data, options
// and seed give the same head, whatever the number of workers. A cancelled context ends
// training with its error.
func Train(ctx context.Context, src Source, options TrainOptions) (*Head, *Report, error) {
	o, err := options.resolve()
	if err != nil {
		return nil, nil, err
	}
	all, vocabulary, err := survey(ctx, src)
	if err != nil {
		return nil, nil, err
	}
	train, held, err := split(all, o.HeldOut)
	if err != nil {
		return nil, nil, err
	}
	if o.Shape.Embedding > 0 {
		o.Shape.Vocabulary = min(vocabulary, maxVocabulary)
	}
	return trainOn(ctx, src, train, held, o)
}

// trainOn is Train with the parts given and the options resolved.
func trainOn(ctx context.Context, src Source, train, held []entry, o TrainOptions) (*Head, *Report, error) {
	if o.Target == FUDGE {
		train = firsts(train)
	}
	h, err := begin(src, train, o)
	if err != nil {
		return nil, nil, err
	}
	report := &Report{}
	var sums *additive
	if o.Embeddings != nil {
		if sums, err = collectAdditive(ctx, src, train, o.Embeddings, o.Workers); err != nil {
			return nil, nil, err
		}
	}
	if sums != nil && !o.bare {
		if h.advantages, report.Additive, err = sums.advantages(ctx, src.Features(), &o); err != nil {
			return nil, nil, err
		}
		if h.advantages.unit, err = h.advantages.measure(ctx, src, held, o.Temp); err != nil {
			return nil, nil, err
		}
	}
	for k, params := range h.members() {
		if h.kind == Additive {
			break
		}
		if o.Ridge {
			if report.Ridge, err = fitRidge(ctx, h, src, train, sums, &o); err != nil {
				return nil, nil, err
			}
			break
		}
		member := h.twin()
		copy(member.params, params)
		one := o
		one.Seed += uint64(k)
		t := newTrainer(member, src, train, one)
		r, err := t.run(ctx, held)
		if err != nil {
			return nil, nil, err
		}
		if k == 0 {
			r.Additive = report.Additive
			report = r
		}
		copy(params, member.params)
	}
	if report.HeldOut, h.unit, err = h.evaluate(ctx, src, held, o.Workers); err != nil {
		return nil, nil, err
	}
	m := report.HeldOut
	h.summary = Summary{
		Trajectories: len(train), Prompts: prompts(train), States: tokens(train),
		HeldOut: prompts(held), Epochs: report.Best, Seed: o.Seed, WarmStart: o.From != nil,
		R2: m.All.R2, R2Last: m.Last.R2, Spearman: m.All.Spearman,
	}
	return h, report, nil
}

// survey reads the source once, checks every example and notes what training must know
// in advance: its entries, empty responses left out, and one more than its largest token.
func survey(ctx context.Context, src Source) (all []entry, vocabulary int, err error) {
	for i := range src.Len() {
		if err := ctx.Err(); err != nil {
			return nil, 0, err
		}
		ex, err := src.At(i)
		if err != nil {
			return nil, 0, err
		}
		if err := checkExample(src.Features(), ex); err != nil {
			return nil, 0, err
		}
		t := ex.Trajectory
		if len(t.Tokens) == 0 {
			continue
		}
		all = append(all, entry{i, t.Prompt, ex.states(), ex.Return})
		for _, e := range sides([]Example{ex}) {
			if e.Trajectory == nil {
				continue
			}
			for _, token := range e.Trajectory.Tokens {
				vocabulary = max(vocabulary, int(token)+1)
			}
		}
	}
	return all, vocabulary, nil
}

// begin makes the head that training starts from.
func begin(src Source, train []entry, o TrainOptions) (*Head, error) {
	shape, from := o.Shape, o.From
	shape.defaults(o.Kind)
	if err := shape.validate(); err != nil {
		return nil, err
	}
	if from != nil {
		shape.Vocabulary = from.shape.Vocabulary
	}
	h, err := newHead(o.Kind, shape, src.Features())
	if err != nil {
		return nil, fmt.Errorf("valuehead: %w", err)
	}
	h.spread, h.target = o.Spread, o.Target
	if from == nil {
		if h.features.centred() {
			mean, err := meanState(src, train)
			if err != nil {
				return nil, err
			}
			h.features = h.features.withCentre(mean)
		}
		marginal, err := h.fitScales(src, train)
		if err != nil {
			return nil, err
		}
		for k, params := range h.members() {
			h.model.init(params, rand.New(rand.NewPCG(o.Seed+uint64(k), 0)))
			if marginal != nil {
				h.believe(params, marginal)
			}
		}
		return h, nil
	}
	if !from.features.equal(h.features) {
		return nil, errFeatures
	}
	if from.kind != h.kind || from.shape != h.shape {
		return nil, fault.New(op, "hidden", from.shape.Hidden, "choose the same, or train afresh", "the head to begin from is %s with %d hidden units, %s with %d is to be trained, or their shapes differ otherwise", from.kind, from.shape.Hidden, h.kind, h.shape.Hidden)
	}
	h.features = from.features
	h.input, h.prompt, h.atoms, h.probe = from.input, from.prompt, from.atoms, from.probe
	h.rewardMean, h.rewardScale, h.tokens, h.squash = from.rewardMean, from.rewardScale, from.tokens, from.squash
	for k, params := range from.members() {
		copy(h.members()[k], params)
	}
	return h, nil
}
