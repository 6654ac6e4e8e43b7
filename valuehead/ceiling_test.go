package valuehead

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Returns are V + noise with known variances, few continuations each: the estimate is
// free of the bias that a mean over M would bring.
func TestOracleCeiling(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, m := range []int{2, 4, 16} {
		var states []Rerolled
		for range 20000 {
			v := rng.NormFloat64() * 2
			s := Rerolled{}
			for range m {
				s.Returns = append(s.Returns, float32(5+v+3*rng.NormFloat64()))
			}
			states = append(states, s)
		}
		c := OracleCeiling(states).All
		if want := 4. / 13; math.Abs(c.R2-want) > 0.015 || math.Abs(c.Deviation-2) > 0.05 || c.States != 20000 {
			t.Errorf("%d continuations: %+v, want R2 %g and deviation 2", m, c, want)
		}
	}
	for name, s := range map[string][]Rerolled{
		"nothing": nil, "one continuation": {{Returns: []float32{3}}}, "no variation": {{Returns: []float32{3, 3}}, {Returns: []float32{3, 3}}},
	} {
		if c := OracleCeiling(s).All; c.R2 != 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	// States that decide the return late in the response, and say nothing early.
	c := OracleCeiling([]Rerolled{{0.8, []float32{3, 3}}, {0.99, []float32{5, 5}}, {0, []float32{3, 5}}, {0.2, []float32{3, 5}}})
	if c.Quarters[3].R2 != 1 || c.Quarters[3].States != 2 || c.Quarters[0].R2 > 0 || c.Quarters[1].States != 0 || c.All.States != 4 {
		t.Errorf("%+v", c)
	}
}

func TestSoftReturn(t *testing.T) {
	if got, want := SoftReturn([]float32{0, 1}, 2), math.Log((1+math.Exp(2))/2)/2; math.Abs(got-want) > 1e-6 {
		t.Errorf("%g, want %g", got, want)
	}
}

// Bins of a head that says twice what is true: the error is half of what it says.
func TestReliability(t *testing.T) {
	var p pairs
	for i := range 3000 {
		p.add(float32(i), float32(i)/2)
	}
	bins := reliability(&p)
	states := 0
	for i, b := range bins {
		states += b.States
		if math.Abs(b.Return-b.Value/2) > 1e-3 || i > 0 && b.Value <= bins[i-1].Value {
			t.Errorf("bin %d: %+v", i, b)
		}
	}
	if got := p.score().ECE; states != 3000 || len(bins) != calibrationBins || math.Abs(got-2999./4) > 0.1 {
		t.Errorf("%d states in %d bins, ECE %g", states, len(bins), got)
	}
}
