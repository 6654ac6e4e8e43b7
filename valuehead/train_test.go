package valuehead

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// synthetic makes responses of 20 tokens whose reward is the sum over tokens of
// logp + first hidden float, plus noise: what a head can know at token t is the sum so
// far. Four responses a prompt.
func synthetic(t testing.TB, n int, seed uint64) *Dataset {
	t.Helper()
	d, _ := syntheticOracle(t, n, seed)
	return d
}

const syntheticLength = 20

// syntheticOracle also returns the true value of every state, by trajectory: the sum so
// far and the mean of what is to come.
func syntheticOracle(t testing.TB, n int, seed uint64) (*Dataset, map[string][]float32) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 9))
	d := NewDataset(mustFeatures(t, testSchema, FeatureOptions{}))
	values := make(map[string][]float32)
	for i := range n {
		tr := randomTrajectory(rng, testSchema, syntheticLength)
		tr.Prompt = fmt.Sprint("prompt ", i/4)
		sum := 0.0
		for k := range syntheticLength {
			logp := -rng.ExpFloat64()
			tr.Scalars[2*k] = float32(logp)
			sum += logp + float64(tr.Hidden[6*k])
			values[tr.Prompt] = append(values[tr.Prompt], float32(sum-float64(syntheticLength-1-k)))
		}
		if err := d.Add(tr, float32(sum+2*rng.NormFloat64())); err != nil {
			t.Fatal(err)
		}
	}
	return d, values
}

// entries are those of all trajectories.
func entries(t testing.TB, src Source) []entry {
	t.Helper()
	all, _, err := survey(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func mustTrain(t testing.TB, d *Dataset, o TrainOptions) (*Head, *Report) {
	t.Helper()
	h, r, err := Train(t.Context(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	return h, r
}

// The head explains nearly as much of the held-out returns as the true value does.
func TestLearns(t *testing.T) {
	d, values := syntheticOracle(t, 4000, 1)
	h, r := mustTrain(t, d, TrainOptions{Hidden: 32, Dropout: -1, Rate: 0.01, Batch: 500, HeldOut: 0.25, Seed: 1})
	_, held, err := split(entries(t, d), 0.25)
	if err != nil {
		t.Fatal(err)
	}
	var all, last pairs
	at := make(map[string]int)
	for _, e := range held {
		ret := d.examples[e.index].Return
		for k := range syntheticLength {
			v := values[e.prompt][at[e.prompt]+k]
			all.add(v, ret)
			if k == syntheticLength-1 {
				last.add(v, ret)
			}
		}
		at[e.prompt] += syntheticLength
	}
	t.Logf("all: %+v of %+v, last: %+v of %+v, epochs %v", r.HeldOut.All, all.score(), r.HeldOut.Last, last.score(), r.Epochs)
	for name, pair := range map[string][2]Score{"all": {r.HeldOut.All, all.score()}, "last": {r.HeldOut.Last, last.score()}} {
		if got, ceiling := pair[0], pair[1]; got.R2 < ceiling.R2-0.05 || got.Spearman < ceiling.Spearman-0.05 {
			t.Errorf("%s: %+v, the true value gives %+v", name, got, ceiling)
		}
	}
	for i := range 4 {
		if f := r.HeldOut.Fifths; f[i+1].R2 < f[i].R2 {
			t.Errorf("fifth %d is no better known than the one before: %v", i+1, f)
		}
	}
	if s := h.Summary(); s.R2 != r.HeldOut.All.R2 || s.Prompts+s.HeldOut != 1000 || s.States != syntheticLength*s.Trajectories {
		t.Errorf("summary %+v", s)
	}
}

// Trained to convergence without weight decay, the linear head is the least-squares fit.
func TestLinearIsLeastSquares(t *testing.T) {
	s := states.Schema{Backbone: "m", Layers: []int{1}, Width: 3, Scalars: []string{"logp"}}
	f := mustFeatures(t, s, FeatureOptions{Blocks: []Block{Hidden, ScalarMean}})
	d := NewDataset(f)
	rng := rand.New(rand.NewPCG(2, 2))
	for range 60 {
		tr := randomTrajectory(rng, s, 5)
		if err := d.Add(tr, tr.Hidden[0]*3-tr.Hidden[7]+5+float32(rng.NormFloat64())); err != nil {
			t.Fatal(err)
		}
	}
	h, err := begin(d, entries(t, d), TrainOptions{Kind: Linear})
	if err != nil {
		t.Fatal(err)
	}
	trainer := newTrainer(h, d, entries(t, d), TrainOptions{Batch: 1000, Workers: 1})
	const steps = 2000
	for i := range steps {
		if _, err := trainer.step(d.examples, learningRate(0.01, i, 0, steps)); err != nil {
			t.Fatal(err)
		}
	}
	w := leastSquares(t, d)
	for _, e := range d.examples {
		out := make([]float32, 5)
		rows := trainingRows(t, f, e.Trajectory)
		if err := h.Predict(rows, 5, out); err != nil {
			t.Fatal(err)
		}
		for k, got := range out {
			want := w[4]
			for j := range 4 {
				want += w[j] * float64(rows[4*k+j])
			}
			if math.Abs(float64(got)-want) > 1e-4 {
				t.Fatalf("value %g, the least-squares fit gives %g", got, want)
			}
		}
	}
}

// leastSquares solves the normal equations of rows with a constant column at the end.
func leastSquares(t *testing.T, d *Dataset) []float64 {
	n := d.features.width + 1
	a := make([][]float64, n) // [n][n+1]
	for i := range a {
		a[i] = make([]float64, n+1)
	}
	for _, e := range d.examples {
		rows := trainingRows(t, d.features, e.Trajectory)
		for k := range e.Trajectory.Tokens {
			x := []float64{}
			for _, v := range rows[k*(n-1) : (k+1)*(n-1)] {
				x = append(x, float64(v))
			}
			x = append(x, 1, float64(e.Return))
			for i := range n {
				for j := range n + 1 {
					a[i][j] += x[i] * x[j]
				}
			}
		}
	}
	for i := range n { // Gauss-Jordan; the matrix is positive definite
		for r := range n {
			if r != i {
				factor := a[r][i] / a[i][i]
				for j := range n + 1 {
					a[r][j] -= factor * a[i][j]
				}
			}
		}
	}
	w := make([]float64, n)
	for i := range w {
		w[i] = a[i][n] / a[i][i]
	}
	return w
}

func TestTrainingIsDeterministic(t *testing.T) {
	rows, recall := synthetic(t, 200, 1), copies(t, 200, CandidateFeatures(promptSchema))
	for name, o := range map[string]TrainOptions{
		"linear":      {Kind: Linear},
		"mlp":         {Kind: MLP},
		"categorical": {Kind: MLP, Shape: Shape{Atoms: 11}},
		"recall":      {Kind: Recall, Target: TDLambda, Spread: HLGauss, Shape: Shape{Atoms: 11, Channels: 6, Keys: 3, Values: 5, Products: 2, Scan: 3, Embedding: 2}},
	} {
		d := rows
		if o.Kind == Recall {
			d = recall
		}
		o.Hidden, o.Epochs, o.Batch, o.Seed, o.Workers = 16, 2, 500, 4, 1
		one, _ := mustTrain(t, d, o)
		o.Workers = 3
		three, _ := mustTrain(t, d, o)
		if !slices.Equal(one.params, three.params) {
			t.Errorf("%s: one and three workers trained different heads", name)
		}
		o.Seed = 5
		if other, _ := mustTrain(t, d, o); slices.Equal(one.params, other.params) {
			t.Errorf("%s: another seed trained the same head", name)
		}
	}
}

// A stream yields every example once, in an order that its seed decides, and holds no
// more than its window.
func TestStream(t *testing.T) {
	d := synthetic(t, 300, 1)
	size := 4 * syntheticLength * (6 + 2)
	together := false
	order := func(seed uint64, window int) (got []string) {
		src := &counting{Source: d}
		for ex, err := range stream(src, entries(t, d), rand.New(rand.NewPCG(seed, 1)), window*size, together) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(ex.Trajectory.Prompt, " ", ex.Return))
			if ahead := src.reads - len(got); ahead >= window {
				t.Fatalf("%d examples are held, the window is of %d", ahead+1, window)
			}
		}
		return got
	}
	a := order(1, 40)
	if !slices.Equal(a, order(1, 40)) {
		t.Error("the same seed gives another order")
	}
	b := order(2, 40)
	if slices.Equal(a, b) {
		t.Error("another seed gives the same order")
	}
	together = true
	c := order(1, 300)
	prompt := func(x string) string { return strings.Fields(x)[1] }
	changes := 0
	for i := 1; i < len(c); i++ {
		if prompt(c[i]) != prompt(c[i-1]) {
			changes++
		}
	}
	if changes != 300/4-1 {
		t.Errorf("prompts of 4 responses each come in %d pieces", changes+1)
	}
	for _, x := range [][]string{a, b} {
		slices.Sort(x)
	}
	if !slices.Equal(a, b) || len(slices.Compact(a)) != 300 {
		t.Error("an example is missing or comes twice")
	}
}

// counting is a source that counts what is read.
type counting struct {
	Source
	reads int
	fails bool
}

var errRead = errors.New("the disk is gone")

func (c *counting) At(i int) (Example, error) {
	if c.reads++; c.fails && c.reads > 150 {
		return Example{}, errRead
	}
	return c.Source.At(i)
}

func TestSourceFails(t *testing.T) {
	if _, _, err := Train(t.Context(), &counting{Source: synthetic(t, 100, 1), fails: true}, TrainOptions{Hidden: 4}); !errors.Is(err, errRead) {
		t.Errorf("error %v, want %v", err, errRead)
	}
}

func TestWarmStart(t *testing.T) {
	d := synthetic(t, 400, 1)
	first, before := mustTrain(t, d, TrainOptions{Hidden: 16, Epochs: 3})
	o := TrainOptions{Hidden: 16, Epochs: 1, From: first}
	second, after := mustTrain(t, d, o)
	if want := before.Epochs[before.Best-1].HeldOutLoss; after.Start != want {
		t.Errorf("held-out loss %v at the start, the head before ended with %v", after.Start, want)
	}
	if after.HeldOut.All.MSE > before.HeldOut.All.MSE || !second.Summary().WarmStart {
		t.Errorf("%+v became %+v", before.HeldOut.All, after.HeldOut.All)
	}
	o.Hidden = 8
	if _, _, err := Train(t.Context(), d, o); err == nil || !strings.Contains(err.Error(), "hidden units") {
		t.Errorf("error %v, want one about the hidden units", err)
	}
	other := NewDataset(mustFeatures(t, testSchema, FeatureOptions{Layers: []int{2}}))
	other.examples, other.states = d.examples, d.states
	o.Hidden = 16
	if _, _, err := Train(t.Context(), other, o); !errors.Is(err, errFeatures) {
		t.Errorf("error %v, want %v", err, errFeatures)
	}
}

// A head that noise alone could improve stops early and keeps its best parameters.
func TestEarlyStop(t *testing.T) {
	d := synthetic(t, 40, 1)
	for i := range d.examples {
		d.examples[i].Return = float32(i * 7919 % 40)
	}
	h, r := mustTrain(t, d, TrainOptions{Epochs: 100, Patience: 2, HeldOut: 0.3, Rate: 0.01})
	if len(r.Epochs) >= 100 || r.Best != len(r.Epochs)-2 {
		t.Errorf("%d epochs, best %d", len(r.Epochs), r.Best)
	}
	_, scale := h.Reward()
	if got, want := r.HeldOut.All.MSE/2/float64(scale*scale), r.Epochs[r.Best-1].HeldOutLoss; math.Abs(got/want-1) > 1e-5 {
		t.Errorf("the head kept has loss %v, the best epoch %v", got, want)
	}
}

func TestTrainingEnds(t *testing.T) {
	d := synthetic(t, 100, 1)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	_, _, err := Train(ctx, d, TrainOptions{Hidden: 8, Batch: 100, Progress: func(p Progress) {
		if calls++; p.Step == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || calls != 3 {
		t.Errorf("error %v after %d minibatches, want a cancellation after 3", err, calls)
	}
	if _, _, err := Train(t.Context(), d, TrainOptions{Hidden: 8, Rate: 1e30}); !errors.Is(err, errDiverged) {
		t.Errorf("error %v, want %v", err, errDiverged)
	}
	for want, o := range map[string]TrainOptions{
		"kind":           {Kind: "tree", Hidden: 3},
		"spread":         {Spread: "wide"},
		"target":         {Target: "best"},
		"lambda":         {Lambda: 2},
		"one return":     {Shape: Shape{Atoms: 1}},
		"candidates":     {Target: CDQ},
		"without states": {Kind: Recall},
		"learning rate":  {Rate: -1},
		"negative":       {Batch: -1},
		"dropout":        {Dropout: 1},
		"fraction":       {HeldOut: 1},
	} {
		if _, _, err := Train(t.Context(), d, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %q", err, want)
		}
	}
}

func TestConstantReward(t *testing.T) {
	d := synthetic(t, 40, 1)
	for i := range d.examples {
		d.examples[i].Return = 3
	}
	_, r := mustTrain(t, d, TrainOptions{Hidden: 8, Epochs: 2})
	if s := r.HeldOut.All; s.R2 != 0 || s.Spearman != 0 || !(s.MSE < 1) {
		t.Errorf("%+v, want no correlation and values near 3", s)
	}
}

func TestSplit(t *testing.T) {
	held := func(d *Dataset) (train, test []string) {
		a, b, err := split(entries(t, d), 0.2)
		if err != nil {
			t.Fatal(err)
		}
		if len(a)+len(b) != d.Len() || tokens(a)+tokens(b) != d.States() {
			t.Fatal("states were lost")
		}
		for _, e := range a {
			train = append(train, e.prompt)
		}
		for _, e := range b {
			test = append(test, e.prompt)
		}
		return train, test
	}
	_, few := held(synthetic(t, 400, 1))
	train, many := held(synthetic(t, 4000, 2))
	for _, p := range few {
		if !slices.Contains(many, p) {
			t.Errorf("%s was held out among 100 prompts, but not among 1000", p)
		}
	}
	for _, p := range many {
		if slices.Contains(train, p) {
			t.Fatalf("%s is on both sides", p)
		}
	}
	// Five standard deviations of a binomial count of 1000 prompts.
	if share := float64(len(many)) / 4000; math.Abs(share-0.2) > 5*math.Sqrt(0.2*0.8/1000) {
		t.Errorf("%v of the prompts are held out, want 0.2", share)
	}
	if a, b := held(synthetic(t, 8, 1)); len(a) != 4 || len(b) != 4 {
		t.Errorf("two prompts are parted into %d and %d trajectories", len(a), len(b))
	}
	if _, _, err := split(entries(t, synthetic(t, 4, 1)), 0.2); err == nil || !strings.Contains(err.Error(), "two prompts") {
		t.Errorf("error %v, want one that asks for two prompts", err)
	}
}
