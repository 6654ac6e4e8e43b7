package valuehead

import (
	"fmt"
	"math"
	"math/rand/v2"
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
// know nothing.
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
					all.add(float32(v), float32(y))
					if d.ends[i] > 0 {
						last.add(float32(v), float32(y))
					}
				}
				return loss, all, last
			}
			best, all, last := validate(teachers, report.Lambda)
			if math.Abs(all.r2()-report.R2) > 1e-3 || math.Abs(last.r2()-report.R2Last) > 1e-3 {
				t.Errorf("R2 %v and %v, want %v and %v", report.R2, report.R2Last, all.r2(), last.r2())
			}
			at := indexOf(gridRidge, report.Lambda)
			for _, weights := range [][]float64{d.weights, d.ends} {
				for _, lambda := range gridRidge[at-1 : at+2] {
					if loss, _, _ := validate(weights, lambda); loss < best*(1-1e-6) {
						t.Errorf("%+v has the loss %v, lambda %v has %v", report, best, lambda, loss)
					}
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
		"another target": {Kind: Linear, Ridge: true, Target: TDLambda},
		"a distribution": {Kind: Linear, Ridge: true, Shape: Shape{Atoms: 3}},
		"an ensemble":    {Kind: Linear, Ridge: true, Shape: Shape{Members: 3}},
	} {
		if _, _, err := Train(t.Context(), d, o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
