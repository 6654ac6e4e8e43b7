package valuehead

import (
	"math"
	"testing"
)

func TestDistribution(t *testing.T) {
	d := Distribution{[]float32{-1, 0, 1, 2}, []float32{0.25, 0, 0.5, 0.25}}
	soft := func(beta float64) float64 {
		return math.Log(0.25*math.Exp(-beta)+0.5*math.Exp(beta)+0.25*math.Exp(2*beta)) / beta
	}
	for name, test := range map[string]struct {
		got  float32
		want float64
	}{
		"mean":                {d.Mean(), 0.75},
		"soft 1":              {d.Soft(1), soft(1)},
		"soft -2":             {d.Soft(-2), soft(-2)},
		"soft, small":         {d.Soft(1e-6), 0.75},
		"soft 0":              {d.Soft(0), 0.75},
		"soft, huge":          {d.Soft(1e6), 2},
		"soft, infinite":      {d.Soft(math.Inf(1)), 2},
		"soft, -infinite":     {d.Soft(math.Inf(-1)), -1},
		"median":              {d.Quantile(0.5), 1},
		"least":               {d.Quantile(0), -1},
		"quarter":             {d.Quantile(0.25), -1},
		"above the quarter":   {d.Quantile(0.26), 1},
		"most":                {d.Quantile(1), 2},
		"pessimistic quarter": {d.Pessimistic(0.25), -1},
		"pessimistic half":    {d.Pessimistic(0.5), 0},
		"pessimistic all":     {d.Pessimistic(1), 0.75},
	} {
		if math.Abs(float64(test.got)-test.want) > 1e-5 {
			t.Errorf("%s: %g, want %g", name, test.got, test.want)
		}
	}
}

// Both spreads sum to 1 and keep the mean of a return between the atoms; two-hot touches
// two atoms alone.
func TestSpread(t *testing.T) {
	for _, s := range []Spread{HLGauss, TwoHot} {
		atoms := atomsFor(21, -3, 2, s)
		q := make([]float32, len(atoms))
		for _, ret := range []float32{-3, -2.96, -0.4, 0, 1.77, 2, 50, -50} {
			spread(s, atoms, q, ret)
			sum, mean, touched := 0.0, 0.0, 0
			for i, v := range q {
				sum += float64(v)
				mean += float64(v) * float64(atoms[i])
				if v > 0 {
					touched++
				}
			}
			want := math.Min(math.Max(float64(ret), float64(atoms[0])), float64(atoms[20]))
			if math.Abs(sum-1) > 1e-5 || ret >= -3 && ret <= 2 && math.Abs(mean-want) > 0.02 {
				t.Errorf("%s of %g: sum %g, mean %g", s, ret, sum, mean)
			}
			if s == TwoHot && (touched > 2 || math.Abs(mean-want) > 1e-5) {
				t.Errorf("%s of %g: %d atoms, mean %g", s, ret, touched, mean)
			}
		}
	}
	if a := atomsFor(5, 1, 1, TwoHot); !(a[0] < 1 && a[4] > 1) {
		t.Errorf("atoms %v of returns that are all 1", a)
	}
}

// A head that has learned the targets of HL-Gauss to perfection gives the soft value of
// the returns themselves.
func TestSoftValueWithoutSmear(t *testing.T) {
	h := &Head{spread: HLGauss, atoms: atomsFor(31, -3, 3, HLGauss)}
	returns := []float32{-2, -1, 1.3}
	weights := []float64{0.2, 0.5, 0.3}
	for _, beta := range []float64{-2, 0.5, 1, 2, 4} {
		out, q, want := make([]float32, 31), make([]float32, 31), 0.0
		for i, r := range returns {
			spread(h.spread, h.atoms, q, r)
			for j, v := range q {
				out[j] += float32(weights[i]) * v
			}
			want += weights[i] * math.Exp(beta*float64(r))
		}
		for j, v := range out {
			out[j] = float32(math.Log(float64(max(v, 1e-30))))
		}
		if got, want := float64(h.value(out, Reading{Beta: beta})), math.Log(want)/beta; math.Abs(got-want) > 0.005 {
			t.Errorf("beta %v: %g, want %g", beta, got, want)
		}
	}
}

// The gradient of the loss with respect to the outputs, against differences.
func TestLossGradient(t *testing.T) {
	for name, h := range map[string]*Head{
		"mean":    {rewardMean: 1, rewardScale: 2},
		"hl":      {atoms: atomsFor(12, -1, 1, HLGauss), spread: HLGauss},
		"two-hot": {atoms: atomsFor(12, -1, 1, TwoHot), spread: TwoHot},
	} {
		k := max(len(h.atoms), 1)
		out, dout, q := make([]float32, k), make([]float32, k), make([]float32, k)
		loss := func(i int, by float32) float64 {
			for j := range out {
				out[j] = float32(j%5) / 3
			}
			out[i] += by
			return h.loss(out, 0.37, 0.5, dout, q)
		}
		for i := range k {
			const step = 1.0 / 64
			want := (loss(i, step) - loss(i, -step)) / (2 * step)
			if loss(i, 0); math.Abs(float64(dout[i])-0.5*want) > 1e-4 {
				t.Errorf("%s: output %d: gradient %g, difference %g", name, i, dout[i], 0.5*want)
			}
		}
	}
}

// A categorical head learns the distribution, not the mean alone: of a reward that is +1
// or -1 by chance with a probability that a feature tells.
func TestCategoricalKnowsTheSpread(t *testing.T) {
	d := synthetic(t, 3000, 1)
	for i, e := range d.examples {
		tr := e.Trajectory
		p := uint32(30) // in hundredths
		for k := range tr.Tokens {
			tr.Hidden[6*k] = -1
		}
		if i%2 == 0 {
			p = 80
			for k := range tr.Tokens {
				tr.Hidden[6*k] = 1
			}
		}
		d.examples[i].Return = -1
		if uint32(i)*2654435761>>16%100 < p {
			d.examples[i].Return = 1
		}
	}
	h, _ := mustTrain(t, d, TrainOptions{Shape: Shape{Atoms: 21, Hidden: 16}, Spread: TwoHot, Epochs: 3})
	for hidden, p := range map[float32]float64{-1: 0.3, 1: 0.8} {
		m, err := h.Begin(nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := m.Push(0, []float32{hidden, 0, 0, 0, 0, 0}, []float32{-1, 0}); err != nil {
				t.Fatal(err)
			}
		}
		for _, beta := range []float64{-2, 0.5, 3} {
			out := make([]float32, 1)
			if err := h.Values([]*Memory{m}, Reading{Beta: beta}, out); err != nil {
				t.Fatal(err)
			}
			want := math.Log(p*math.Exp(beta)+(1-p)*math.Exp(-beta)) / beta
			if math.Abs(float64(out[0])-want) > 0.2 {
				t.Errorf("p %v, beta %v: %g, want %g", p, beta, out[0], want)
			}
		}
	}
	mean := smallHead(t, MLP)
	m, err := mean.Begin(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := mean.Values([]*Memory{m}, Reading{Beta: 1}, make([]float32, 1)); err == nil {
		t.Error("a head without atoms gave a soft value")
	}
	if err := h.Values([]*Memory{m}, Reading{}, make([]float32, 1)); err == nil {
		t.Error("a memory of another head was taken")
	}
}
