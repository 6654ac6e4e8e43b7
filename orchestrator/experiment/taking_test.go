package experiment_test

import (
	"math"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
)

// The best of answers that a search gave is as far from the base policy as choosing among them takes it, and the search itself.
func TestBestOfSearched(t *testing.T) {
	const emitted, ratio = 5, 0.25
	for _, tc := range []struct {
		strategy decode.Strategy
		most     float64 // times as often as the policy that tokens are drawn from
	}{
		{decode.Strategy{Method: decode.MethodSample}, 1},
		{decode.Strategy{Method: decode.MethodTokenwise}, 1},
		{decode.Strategy{Method: decode.MethodBestOfN, N: 8}, 8},
		{decode.Strategy{Method: decode.MethodBlockBestOfK, N: 4, Beam: decode.Beam{Block: 2}}, 4 * 4 * 4},
		{decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: 3, Block: 4}}, 3 * 3 * 3},
	} {
		var a, b experiment.Sample
		a.Emitted, a.Ratio, a.Rewards, b.Rewards = emitted, ratio, []float64{2}, []float64{1}
		best, kl := experiment.Taking{Strategy: tc.strategy, Samples: 2, BestOf: 2}.Best([]experiment.Sample{b, a})
		if want := math.Log(2) - 0.5 + math.Log(tc.most) + ratio; best.Emitted != emitted || math.Abs(kl-want) > 1e-12 {
			t.Errorf("%s: %v, want %v", tc.strategy.Method, kl, want)
		}
	}
}
