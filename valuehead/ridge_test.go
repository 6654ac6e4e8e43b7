package valuehead

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// design is what the head is fitted to, written out: rows [x 1], returns and weights, by response.
type design struct {
	rows    [][]float64
	returns []float64
	weights []float64 // as a fit to all states weighs them
	ends    []float64 // and one to the last states
	folds   []int
}

func designOf(t *testing.T, h *Head, d *Dataset, some []entry) (out design) {
	t.Helper()
	w := h.features.width
	memory := h.features.NewAccumulator()
	for _, e := range some {
		ex := d.examples[e.index]
		rows, err := h.rows(nil, memory, ex)
		if err != nil {
			t.Fatal(err)
		}
		h.input.apply(rows)
		for at := 0; at < len(rows); at += w {
			row := make([]float64, w+1)
			for j, x := range rows[at : at+w] {
				row[j] = float64(x)
			}
			row[w] = 1
			out.rows = append(out.rows, row)
			out.returns = append(out.returns, float64((ex.Return-h.rewardMean)/h.rewardScale))
			out.weights = append(out.weights, 1/float64(e.tokens))
			out.ends = append(out.ends, map[bool]float64{true: 1}[at+w == len(rows)])
			out.folds = append(out.folds, foldOf(e.prompt))
		}
	}
	return out
}

// fit solves the normal equations by elimination, without a fold.
func (d design) fit(weights []float64, lambda float64, without int) []float64 {
	n := len(d.rows[0])
	a, b, sum := make([]float64, n*n), make([]float64, n), 0.0
	for i, row := range d.rows {
		if d.folds[i] == without {
			continue
		}
		for j, u := range row {
			b[j] += weights[i] * u * d.returns[i]
			for k, v := range row {
				a[j*n+k] += weights[i] * u * v
			}
		}
		sum += weights[i]
	}
	for j := range n - 1 {
		a[j*n+j] += lambda * sum
	}
	return eliminate(a, b)
}

func (d design) value(weights []float64, i int) (v float64) {
	for j, x := range d.rows[i] {
		v += weights[j] * x
	}
	return v
}

// ragged makes responses of different lengths. With sums the return is the sum of what the states
// say, else what all of them say but the last.
func ragged(t *testing.T, n int, sums bool) *Dataset {
	t.Helper()
	rng := rand.New(rand.NewPCG(5, 5))
	d := NewDataset(mustFeatures(t, testSchema, FeatureOptions{Blocks: []Block{Hidden, HiddenSum, Length}}))
	for i := range n {
		tr := randomTrajectory(rng, testSchema, 3+rng.IntN(6))
		tr.Prompt = fmt.Sprint("prompt ", i/2)
		ret := 0.3 * rng.NormFloat64()
		for k := range tr.Tokens {
			if sums {
				ret += float64(tr.Hidden[6*k] - tr.Hidden[6*k+4])
			} else {
				tr.Hidden[6*k] = tr.Hidden[0]
			}
		}
		if !sums {
			ret += float64(tr.Hidden[0])
			tr.Hidden[6*(len(tr.Tokens)-1)] = 0 // the last state does not know
		}
		if err := d.Add(tr, float32(ret)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// Weights, penalty and R2 are those of fits written out in double precision and solved by
// elimination; the last states teach where the value is a sum, all of them where the last ones
// know nothing. No other penalty of the least loss explains more.
func TestRidge(t *testing.T) {
	for name, sums := range map[string]bool{"sums": true, "states": false} {
		t.Run(name, func(t *testing.T) {
			data := ragged(t, 200, sums)
			some := entries(t, data)
			h, err := begin(data, some, TrainOptions{Kind: Linear})
			if err != nil {
				t.Fatal(err)
			}
			report, err := fitRidge(t.Context(), h, data, some, nil, &TrainOptions{Workers: 2})
			if err != nil {
				t.Fatal(err)
			}
			if report.Ends != sums || report.R2 < 0.2 {
				t.Errorf("%+v", report)
			}
			d := designOf(t, h, data, some)
			returns := slices.Clone(d.returns)
			squash := h.squash
			if report.Squashed != (squash.reach > 0) {
				t.Errorf("%+v with the squash %v", report, squash)
			}
			for i, r := range returns {
				d.returns[i] = (squash.stretch(h.rewardMean+h.rewardScale*float32(r)) - float64(h.rewardMean)) / float64(h.rewardScale)
			}
			teachers := d.weights
			if report.Ends {
				teachers = d.ends
			}
			for j, want := range d.fit(teachers, report.Lambda, -1) {
				if math.Abs(float64(h.params[j])-want) > 1e-4 {
					t.Errorf("parameter %d is %v, want %v", j, h.params[j], want)
				}
			}
			validate := func(weights []float64, lambda float64) (loss float64, all, last pairs) {
				var fits [folds][]float64
				for k := range folds {
					fits[k] = d.fit(weights, lambda, k)
				}
				for i, y := range d.returns {
					v := d.value(fits[d.folds[i]], i)
					loss += d.weights[i] * (v - y) * (v - y)
					value := squash.of(h.rewardMean + h.rewardScale*float32(v))
					all.add((value-h.rewardMean)/h.rewardScale, float32(returns[i]))
					if d.ends[i] > 0 {
						last.add((value-h.rewardMean)/h.rewardScale, float32(returns[i]))
					}
				}
				return loss, all, last
			}
			_, all, last := validate(teachers, report.Lambda)
			if math.Abs(all.r2()-report.R2) > 1e-3 || math.Abs(last.r2()-report.R2Last) > 1e-3 {
				t.Errorf("R2 %v and %v, want %v and %v", report.R2, report.R2Last, all.r2(), last.r2())
			}
			for _, weights := range [][]float64{d.weights, d.ends} {
				least, explained, at := math.Inf(1), 0.0, 0.0
				for _, lambda := range gridRidge {
					if loss, all, last := validate(weights, lambda); loss < least {
						least, explained, at = loss, (all.r2()+last.r2())/2, lambda
					}
				}
				if explained > report.explained()+1e-3 {
					t.Errorf("%+v explains %v, lambda %v explains %v", report, report.explained(), at, explained)
				}
			}
		})
	}
}

// With tokens, the values are those of a fit to the columns and the sums of embeddings beside
// them, written out; and the tokens explain what the states do not.
func TestRidgeReadsTokens(t *testing.T) {
	e := randomTable(30, 4)
	world, _ := additiveWorld(t, 60, e, false, 0.5)
	data := NewDataset(mustFeatures(t, promptSchema, FeatureOptions{Blocks: []Block{HiddenSum, Length}}))
	for _, ex := range world.examples {
		if err := data.AddExample(ex); err != nil {
			t.Fatal(err)
		}
	}
	some := entries(t, data)
	h, err := begin(data, some, TrainOptions{Kind: Linear})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := collectAdditive(t.Context(), data, some, e, 1)
	if err != nil {
		t.Fatal(err)
	}
	report, err := fitRidge(t.Context(), h, data, some, tokens, &TrainOptions{Workers: 1, Embeddings: e})
	if err != nil {
		t.Fatal(err)
	}
	if report.Columns != h.features.width+4 || report.R2Last < 0.9 {
		t.Errorf("%+v", report)
	}
	table := h.tokens
	h.tokens = nil
	d := designOf(t, h, data, some)
	h.tokens = table
	at := 0
	for _, entry := range some {
		said := make([]float64, 4)
		for _, y := range data.examples[entry.index].Trajectory.Tokens {
			for j, v := range tokens.embedded[tokens.rows[y]*4:][:4] {
				said[j] += math.Sqrt(8) * float64(v)
			}
			d.rows[at] = slices.Concat(said, d.rows[at])
			at++
		}
	}
	teachers := d.weights
	if report.Ends {
		teachers = d.ends
	}
	want := d.fit(teachers, report.Lambda, -1)
	at = 0
	err = h.each(t.Context(), data, some, 1, func(_ Example, out []float32) {
		for _, v := range out {
			if w := d.value(want, at); math.Abs(float64(v)-w) > 1e-3 {
				t.Fatalf("state %d has the output %v, want %v", at, v, w)
			}
			at++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Predict(make([]float32, h.features.width), 1, make([]float32, 1)); err == nil {
		t.Error("a row alone has a value")
	}
}

// What goes on from a fit that reads tokens goes on with them.
func TestStepsFromRidge(t *testing.T) {
	e := randomTable(30, 4)
	world, _ := additiveWorld(t, 60, e, false, 0.5)
	view := seen{world, mustFeatures(t, promptSchema, FeatureOptions{Blocks: []Block{HiddenSum}})}
	first, before, err := Train(t.Context(), view, TrainOptions{Kind: Linear, Ridge: true, Embeddings: e})
	if err != nil {
		t.Fatal(err)
	}
	second, after, err := Train(t.Context(), view, TrainOptions{Kind: Linear, From: first, Epochs: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, scale := first.Reward()
	if want := before.HeldOut.All.MSE / 2 / float64(scale*scale); math.Abs(after.Start/want-1) > 1e-4 {
		t.Errorf("held-out loss %v at the start, the head before ended with %v", after.Start, want)
	}
	if !slices.Equal(second.tokens, first.tokens) {
		t.Error("what tokens add is lost")
	}
}

// The same data give the same head, whatever the number of workers.
func TestRidgeIsDeterministic(t *testing.T) {
	d := synthetic(t, 120, 3)
	h, r := mustTrain(t, d, TrainOptions{Kind: Linear, Ridge: true, Workers: 1})
	again, other := mustTrain(t, d, TrainOptions{Kind: Linear, Ridge: true, Workers: 3})
	if !slices.Equal(again.params, h.params) || cmp.Diff(r, other) != "" {
		t.Error("another number of workers gives another head")
	}
}

func TestRidgeRefuses(t *testing.T) {
	d := synthetic(t, 20, 1)
	for name, o := range map[string]TrainOptions{
		"another kind":   {Kind: MLP, Ridge: true},
		"a distribution": {Kind: Linear, Ridge: true, Shape: Shape{Atoms: 3}},
		"an ensemble":    {Kind: Linear, Ridge: true, Shape: Shape{Members: 3}},
	} {
		if _, _, err := Train(t.Context(), d, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Returns that have ends are sums within them: the values are those of a fit to what the returns
// stretch to, and stay as they are in a file, row by row and where training by steps goes on.
func TestRidgeSquashes(t *testing.T) {
	data := NewDataset(mustFeatures(t, testSchema, FeatureOptions{Blocks: []Block{HiddenSum}}))
	for _, e := range ragged(t, 300, true).examples {
		if err := data.Add(e.Trajectory, float32(math.Tanh(float64(e.Return)))); err != nil {
			t.Fatal(err)
		}
	}
	h, report := mustTrain(t, data, TrainOptions{Kind: Linear, Ridge: true})
	r := report.Ridge
	if !r.Squashed || h.squash == (squash{}) || r.R2Last < 0.7 {
		t.Fatalf("%+v", r)
	}
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := h.twin()
	sum.squash = squash{}
	for _, e := range data.examples[:20] {
		rows, err := h.rows(nil, h.features.NewAccumulator(), e)
		if err != nil {
			t.Fatal(err)
		}
		n := len(e.Trajectory.Tokens)
		values, again, sums := make([]float32, n), make([]float32, n), make([]float32, n)
		for head, out := range map[*Head][]float32{h: values, loaded: again, sum: sums} {
			if err := head.Predict(rows, n, out); err != nil {
				t.Fatal(err)
			}
		}
		for i, v := range values {
			if want := h.squash.of(sums[i]); v != want || again[i] != v {
				t.Fatalf("state %d is worth %v, and %v from a file, want %v of the sum %v", i, v, again[i], want, sums[i])
			}
		}
	}
	_, after, err := Train(t.Context(), data, TrainOptions{Kind: Linear, From: h, Epochs: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, scale := h.Reward()
	if want := report.HeldOut.All.MSE / 2 / float64(scale*scale); math.Abs(after.Start/want-1) > 1e-4 {
		t.Errorf("held-out loss %v at the start, the head before ended with %v", after.Start, want)
	}
}

// The gradient of a squashed value's loss is its slope.
func TestSquashedLoss(t *testing.T) {
	h := &Head{rewardMean: 0.2, rewardScale: 0.5, squash: squash{0.1, 0.9}}
	for _, out := range []float32{-3, -0.4, 0, 1, 2.5} {
		var got [1]float32
		h.loss([]float32{out}, 0.6, 2, got[:], nil)
		const step = 1e-2
		want := 2 * (h.loss([]float32{out + step}, 0.6, 0, nil, nil) - h.loss([]float32{out - step}, 0.6, 0, nil, nil)) / (2 * step)
		if math.Abs(float64(got[0])-want) > 1e-3 {
			t.Errorf("at %v the gradient is %v, want %v", out, got[0], want)
		}
	}
}

// The fit to lambda-returns is the fixed point that least squares TD solves for at once, here by elimination in double
// precision; with lambda 1 it is the fit of all states to the returns, and that of CD-Q is the one with lambda 0.
func TestRidgeTD(t *testing.T) {
	data := ragged(t, 200, true)
	some := entries(t, data)
	for _, of := range []struct {
		target Target
		option float64
		lambda float64
	}{{TDLambda, -1, 0}, {TDLambda, 0.6, 0.6}, {TDLambda, 0, 0.95}, {TDLambda, 1, 1}, {CDQ, 0.6, 0}} {
		lambda := of.lambda
		o, err := TrainOptions{Kind: Linear, Ridge: true, Workers: 2, Target: of.target, Lambda: of.option}.resolve()
		if err != nil {
			t.Fatal(err)
		}
		h, err := begin(data, some, TrainOptions{Kind: Linear})
		if err != nil {
			t.Fatal(err)
		}
		report, err := fitRidge(t.Context(), h, data, some, nil, &o)
		if err != nil {
			t.Fatal(err)
		}
		d := designOf(t, h, data, some)
		n := len(d.rows[0])
		a, b, sum := make([]float64, n*n), make([]float64, n), 0.0
		z, share := make([]float64, n), 0.0 // of the states behind, from the last one on
		for i := len(d.rows) - 1; i >= 0; i-- {
			if d.ends[i] == 1 {
				clear(z)
				share = 1
			} else {
				for j, v := range d.rows[i+1] {
					z[j] = (1-lambda)*v + lambda*z[j]
				}
				share *= lambda
			}
			for j, u := range d.rows[i] {
				b[j] += d.weights[i] * u * share * d.returns[i]
				for k, v := range d.rows[i] {
					a[j*n+k] += d.weights[i] * u * (v - z[k])
				}
			}
			sum += d.weights[i]
		}
		for j := range n - 1 {
			a[j*n+j] += report.Lambda * sum
		}
		if report.Ends || report.Squashed || !(report.R2Last > 0.7) {
			t.Errorf("%+v: %+v", of, report)
		}
		for j, want := range eliminate(a, b) {
			if got := float64(h.params[j]); math.Abs(got-want) > 1e-4*max(1, math.Abs(want)) {
				t.Errorf("%+v: weight %d is %v, want %v", of, j, got, want)
			}
		}
	}
}
