package valuehead

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
)

// TrainOptions says how to train a head. Zero values mean the defaults stated; where
// "off" is possible, a negative value is it.
type TrainOptions struct {
	Kind        Kind    // default MLP
	Hidden      int     // units of the MLP's hidden layer; default 192
	Dropout     float64 // of the MLP's hidden layer; default 0.3
	Epochs      int     // at most; default 4: the states of a response share one return, so heads overfit soon
	Batch       int     // states in a minibatch; default 1024
	Rate        float64 // peak learning rate of AdamW; default 0.002
	WeightDecay float64 // of AdamW: a step shrinks weights by Rate*WeightDecay; default 1
	Warmup      float64 // share of the steps over which the rate rises; default 0.05
	Patience    int     // epochs without a better held-out loss before stopping; default 3
	HeldOut     float64 // share of the prompts held out; default 0.1
	Seed        uint64
	Workers     int // goroutines; default one a core. The result does not depend on it.

	// From is a head to begin from, of the same kind, size and features; its scales of
	// inputs and rewards are kept. Nil trains a fresh one.
	From *Head
	// Progress, when set, is called after every minibatch and after every epoch.
	Progress func(Progress)
}

// Progress is how far training has come. Losses are 1/2 (V - R)^2 a state, in units of
// the reward's variance: 0.5 is what the mean reward gives.
type Progress struct {
	Step, Steps   int // minibatches, over all epochs
	Epoch, Epochs int // finished
	TrainLoss     float64
	HeldOutLoss   float64 // after the last epoch; before that, of the head at the start
}

// Epoch is one line of the learning curve, losses as in [Progress].
type Epoch struct {
	TrainLoss   float64 `json:"train_loss"`
	HeldOutLoss float64 `json:"held_out_loss"`
}

// Report tells how training went.
type Report struct {
	HeldOut Metrics `json:"held_out"` // of the head that was kept
	Start   float64 `json:"start"`    // held-out loss before training
	Epochs  []Epoch `json:"epochs"`
	Best    int     `json:"best"` // epochs until the head that was kept; 0 is the start
}

var (
	errFeatures = errors.New("valuehead: the head and the data have different features (build the dataset with the head's own features)")
	errDiverged = errors.New("valuehead: training diverged: the loss is not finite (choose a lower learning rate)")
)

func (o *TrainOptions) defaults() {
	set := func(v *float64, to float64) {
		if *v == 0 {
			*v = to
		}
		*v = max(*v, 0)
	}
	set(&o.Dropout, 0.3)
	set(&o.WeightDecay, 1)
	set(&o.Warmup, 0.05)
	if o.HeldOut == 0 {
		o.HeldOut = 0.1
	}
	if o.Rate == 0 {
		o.Rate = 0.002
	}
	for _, n := range []struct {
		v  *int
		to int
	}{{&o.Hidden, 192}, {&o.Epochs, 4}, {&o.Batch, 1024}, {&o.Patience, 3}, {&o.Workers, runtime.GOMAXPROCS(0)}} {
		if *n.v == 0 {
			*n.v = n.to
		}
	}
	if o.Kind == "" {
		o.Kind = MLP
	}
}

func (o *TrainOptions) validate() error {
	switch {
	case o.Hidden < 0 || o.Epochs < 0 || o.Batch < 0 || o.Patience < 0 || o.Workers < 0:
		return errors.New("valuehead: a negative size, epoch, batch, patience or worker count (leave it zero for the default)")
	case !(o.Rate > 0) || math.IsInf(o.Rate, 0):
		return fmt.Errorf("valuehead: learning rate %v (choose a positive one, such as 0.002)", o.Rate)
	case !(o.Dropout < 1):
		return fmt.Errorf("valuehead: dropout %v (choose one below 1)", o.Dropout)
	}
	return nil
}

// Train fits a head to the dataset by minimising 1/2 (V(s) - target)^2 over the states
// of its training prompts, and keeps the parameters that were best on the held-out ones
// (see [Dataset.Split]). The same data, options and seed give the same head, whatever
// the number of workers. A cancelled context ends training with its error.
func Train(ctx context.Context, d *Dataset, options TrainOptions) (*Head, *Report, error) {
	o := options
	o.defaults()
	if err := o.validate(); err != nil {
		return nil, nil, err
	}
	train, held, err := d.Split(o.HeldOut)
	if err != nil {
		return nil, nil, err
	}
	h, err := begin(train, o)
	if err != nil {
		return nil, nil, err
	}
	t := newTrainer(h, train, o)
	report, err := t.run(ctx, held)
	if err != nil {
		return nil, nil, err
	}
	if report.HeldOut, err = h.Evaluate(ctx, held, o.Workers); err != nil {
		return nil, nil, err
	}
	m := report.HeldOut
	h.summary = Summary{
		Trajectories: train.Trajectories(), Prompts: train.prompts(), States: train.states,
		HeldOut: held.prompts(), Epochs: report.Best, Seed: o.Seed, WarmStart: o.From != nil,
		R2: m.All.R2, R2Last: m.Last.R2, Spearman: m.All.Spearman,
	}
	return h, report, nil
}

// begin makes the head that training starts from.
func begin(train *Dataset, o TrainOptions) (*Head, error) {
	h, err := newHead(o.Kind, o.Hidden, train.features)
	if err != nil {
		return nil, fmt.Errorf("valuehead: %w", err)
	}
	from := o.From
	if from == nil {
		h.fitScales(train)
		h.model.init(h.params, rand.New(rand.NewPCG(o.Seed, 0)))
		return h, nil
	}
	if !from.features.equal(h.features) {
		return nil, errFeatures
	}
	if from.kind != h.kind || from.hidden != h.hidden {
		return nil, fmt.Errorf("valuehead: the head to begin from is %s with %d hidden units, %s with %d is to be trained (choose the same, or train afresh)", from.kind, from.hidden, h.kind, h.hidden)
	}
	h.mean, h.inverse = from.mean, from.inverse
	h.rewardMean, h.rewardScale = from.rewardMean, from.rewardScale
	copy(h.params, from.params)
	return h, nil
}
