package valuehead

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The head is the minimum of the weighted squares with the penalty that was chosen: at its
// parameters, and nowhere near them, the gradient vanishes.
func TestRidgeIsMinimum(t *testing.T) {
	d := synthetic(t, 200, 3)
	o := TrainOptions{Kind: Linear, Ridge: true, Workers: 1}
	h, r := mustTrain(t, d, o)
	train, _, err := split(entries(t, d), 0.1)
	if err != nil {
		t.Fatal(err)
	}
	w := h.features.width
	gradient := make([]float64, w+1)
	memory := h.features.NewAccumulator()
	n, size := 0.0, 0.0
	for _, e := range train {
		ex := d.examples[e.index]
		rows, err := h.rows(nil, memory, ex)
		if err != nil {
			t.Fatal(err)
		}
		h.input.apply(rows)
		for at := 0; at < len(rows); at += w {
			diff := float64(h.params[w]) - float64((ex.Return-h.rewardMean)/h.rewardScale)
			for j, x := range rows[at : at+w] {
				diff += float64(h.params[j]) * float64(x)
			}
			for j, x := range rows[at : at+w] {
				gradient[j] += diff * float64(x)
				size += math.Abs(diff * float64(x))
			}
			gradient[w] += diff
			n++
		}
	}
	for j := range gradient {
		if j < w {
			gradient[j] += r.Ridge.Lambda * n * float64(h.params[j])
		}
		if math.Abs(gradient[j]) > 1e-5*size {
			t.Errorf("parameter %d has the gradient %v", j, gradient[j])
		}
	}
	o.Workers = 3
	again, other := mustTrain(t, d, o)
	if !slices.Equal(again.params, h.params) || cmp.Diff(r, other) != "" {
		t.Error("another number of workers gives another head")
	}
}

// The R2 of cross-validation are those of heads that were fitted without the fold, written out,
// and no neighbour of the penalty has a smaller error.
func TestRidgeValidates(t *testing.T) {
	d := synthetic(t, 240, 4)
	src := entries(t, d)
	h, err := begin(d, src, TrainOptions{Kind: Linear})
	if err != nil {
		t.Fatal(err)
	}
	report, err := fitRidge(t.Context(), h, d, src, 2)
	if err != nil {
		t.Fatal(err)
	}
	w := h.features.width
	errors := func(lambda float64) (sse float64, all, last pairs) {
		for k := range folds {
			a, b, sum := make([]float64, (w+1)*(w+1)), make([]float64, w+1), 0.0
			each := func(in bool, visit func(row []float64, y float64, end bool)) {
				memory := h.features.NewAccumulator()
				for _, e := range src {
					if foldOf(e.prompt) == k != in {
						continue
					}
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
						visit(row, float64((ex.Return-h.rewardMean)/h.rewardScale), at+w == len(rows))
					}
				}
			}
			each(false, func(row []float64, y float64, _ bool) {
				for i, u := range row {
					b[i] += u * y
					for j, v := range row {
						a[i*(w+1)+j] += u * v
					}
				}
				sum++
			})
			for j := range w {
				a[j*(w+1)+j] += lambda * sum
			}
			weights := eliminate(a, b)
			each(true, func(row []float64, y float64, end bool) {
				v := 0.0
				for j, x := range row {
					v += weights[j] * x
				}
				sse += (v - y) * (v - y)
				all.add(float32(v), float32(y))
				if end {
					last.add(float32(v), float32(y))
				}
			})
		}
		return sse, all, last
	}
	best, all, last := errors(report.Lambda)
	if math.Abs(all.r2()-report.R2) > 1e-4 || math.Abs(last.r2()-report.R2Last) > 1e-4 {
		t.Errorf("R2 %v and %v, want %v and %v", report.R2, report.R2Last, all.r2(), last.r2())
	}
	for _, other := range []float64{report.Lambda / 3.2, report.Lambda * 3.2} {
		if sse, _, _ := errors(other); sse < best {
			t.Errorf("lambda %v has the error %v, %v has %v", report.Lambda, best, other, sse)
		}
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
