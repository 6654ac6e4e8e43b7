package valuehead

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
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

// Soft values of every finite beta against arithmetic of 600 bits; where a number is too small or
// too large for that, against their limits.
func TestSoftIsExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 41).Draw(rt, "atoms")
		low, step := rapid.Float64Range(-100, 100).Draw(rt, "low"), math.Pow(10, rapid.Float64Range(-3, 2).Draw(rt, "log step"))
		d := Distribution{make([]float32, n), make([]float32, n)}
		for i := range n {
			d.Atoms[i] = float32(low + float64(i)*step)
			d.P[i] = max(0, rapid.Float32Range(-0.2, 1).Draw(rt, "p"))
		}
		d.P[rapid.IntRange(0, n-1).Draw(rt, "sure")] = 0.5
		total := float32(0)
		for _, p := range d.P {
			total += p
		}
		for i := range d.P { // as softmax leaves them
			d.P[i] /= total
		}
		beta := math.Copysign(math.Pow(10, rapid.Float64Range(-330, 308).Draw(rt, "log beta")), rapid.Float64Range(-1, 1).Draw(rt, "sign"))
		want, within := exactSoft(d, beta)
		got := float64(d.Soft(beta))
		if within += 1e-6 * math.Max(math.Abs(want), step); !(math.Abs(got-want) <= within) {
			rt.Fatalf("V_%g of %v: %g, want %g", beta, d, got, want)
		}
		// It rises with beta, from the least return to the largest, as far as rounding goes.
		more, least, largest := float64(d.Soft(beta+math.Abs(beta))), float64(d.Soft(math.Inf(-1))), float64(d.Soft(math.Inf(1)))
		if more < got-within || least > more+within || largest < more-within {
			rt.Fatalf("V_%g = %g, but V_%g = %g, of returns from %g to %g", beta, got, beta+math.Abs(beta), more, least, largest)
		}
	})
}

// exactSoft is V_beta, and how far from it that may be.
func exactSoft(d Distribution, beta float64) (value, within float64) {
	const bits = 600
	num := func(x float64) *big.Float { return new(big.Float).SetPrec(bits).SetFloat64(x) }
	low, high := math.Inf(1), math.Inf(-1)
	total, mean := num(0), num(0)
	for i, p := range d.P {
		if p > 0 {
			low, high = min(low, float64(d.Atoms[i])), max(high, float64(d.Atoms[i]))
			total.Add(total, num(float64(p)))
			mean.Add(mean, new(big.Float).Mul(num(float64(p)), num(float64(d.Atoms[i]))))
		}
	}
	switch x := math.Abs(beta) * (high - low); {
	case x < 1e-30:
		value, _ = mean.Quo(mean, total).Float64()
		return value, 1e-30 * (high - low)
	case x > 1e5: // the last return takes all but a share exp(-x) times its neighbours'
		last, at := high, len(d.P)-1
		if beta < 0 {
			last, at = low, 0
		}
		for d.P[at] == 0 {
			at -= int(math.Copysign(1, beta))
		}
		sum, _ := total.Float64()
		return last + math.Log(float64(d.P[at])/sum)/beta, 1e-6 * (high - low)
	}
	// exp(x) by squaring and Taylor's series, log(1+y) by Newton's method.
	exp := func(x *big.Float) *big.Float {
		const halvings = 64
		x = new(big.Float).SetMantExp(x, -halvings)
		sum, term := num(1), num(1)
		for k := 1.0; k < 12; k++ {
			term = new(big.Float).Quo(new(big.Float).Mul(term, x), num(k))
			sum.Add(sum, term)
		}
		for range halvings {
			sum.Mul(sum, sum)
		}
		return sum
	}
	sum := num(0)
	for i, p := range d.P {
		e := exp(new(big.Float).Mul(num(beta), new(big.Float).Sub(num(float64(d.Atoms[i])), num(low))))
		sum.Add(sum, e.Mul(e, num(float64(p))))
	}
	sum.Quo(sum, total)
	mantissa, _ := new(big.Float).SetMantExp(sum, -sum.MantExp(nil)).Float64()
	l := num(math.Log(mantissa) + float64(sum.MantExp(nil))*math.Ln2)
	for range 7 {
		l.Add(l, new(big.Float).Sub(new(big.Float).Mul(sum, exp(new(big.Float).Neg(l))), num(1)))
	}
	value, _ = l.Add(l.Quo(l, num(beta)), num(low)).Float64()
	return value, 0
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
	// Whatever beta, the value rises with it and stays among the returns.
	q, last := make([]float32, 31), float32(-2.01)
	for _, beta := range []float64{math.Inf(-1), -1e308, -50, -8, -1, -1e-8, 0, 1e-8, 1, 8, 50, 1e308, math.Inf(1)} {
		spread(h.spread, h.atoms, q, 1)
		out := make([]float32, 31)
		for i, v := range q {
			out[i] += v / 2
		}
		spread(h.spread, h.atoms, q, -2)
		for i, v := range q {
			out[i] = float32(math.Log(float64(max(out[i]+v/2, 1e-30))))
		}
		v := h.value(out, Reading{Beta: beta})
		if !(v >= last-1e-3) || v > 1.01 {
			t.Errorf("beta %v gives %g after %g", beta, v, last)
		}
		last = v
	}
}

// A fresh categorical head believes the returns' own distribution.
func TestStartsAtTheMarginal(t *testing.T) {
	d := synthetic(t, 400, 1)
	for i := range d.examples {
		d.examples[i].Return = float32(i % 7 / 5) // 1 of two in seven, else 0
	}
	h, _ := mustTrain(t, d, TrainOptions{Kind: Linear, Shape: Shape{Atoms: 11}, Epochs: 1, Rate: 1e-12})
	m, err := h.Begin(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Push(0, make([]float32, 6), make([]float32, 2)); err != nil {
		t.Fatal(err)
	}
	v := make([]float32, 1)
	if err := h.Values([]*Memory{m}, Reading{}, v); err != nil || math.Abs(float64(v[0])-2./7) > 0.02 {
		t.Errorf("the value is %v (%v), not the mean return", v[0], err)
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

// What a head says beyond what it was trained on is kept within the deviations that are asked for.
func TestWithin(t *testing.T) {
	h := &Head{rewardMean: 1, rewardScale: 2}
	for _, x := range []struct {
		out    float32
		within float64
		want   float32
	}{{30, 0, 61}, {30, 2.5, 6}, {-30, 2.5, -4}, {-1, 2.5, -1}, {2.5, 2.5, 6}} {
		r := Reading{Within: x.within}
		if err := h.CheckReading(r); err != nil {
			t.Error(err)
		}
		if got := h.value([]float32{x.out}, r); got != x.want {
			t.Errorf("%v within %v deviations: %v, want %v", x.out, x.within, got, x.want)
		}
	}
	for _, bad := range []float64{-1, math.NaN()} {
		if (Reading{Within: bad}).Check() == nil {
			t.Errorf("values within %v deviations are allowed", bad)
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
	h, _ := mustTrain(t, d, TrainOptions{Shape: Shape{Atoms: 21, Hidden: 16}, Spread: TwoHot, Epochs: 3, Rate: 0.01, Dropout: -1})
	// The mean over the responses of either kind: single ones say what they were trained on.
	for kind, p := range []float64{0.8, 0.3} {
		for _, beta := range []float64{-2, 0.5, 3} {
			sum, n := 0.0, 0.0
			err := h.each(t.Context(), d, entries(t, d)[kind:], 1, func(_ Example, out []float32) {
				if int(n)%2 == 0 {
					sum += float64(h.value(out[:21], Reading{Beta: beta}))
				}
				n++
			})
			if err != nil {
				t.Fatal(err)
			}
			got, want := 2*sum/n, math.Log(p*math.Exp(beta)+(1-p)*math.Exp(-beta))/beta
			if math.Abs(got-want) > 0.1 {
				t.Errorf("p %v, beta %v: %g, want %g", p, beta, got, want)
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
