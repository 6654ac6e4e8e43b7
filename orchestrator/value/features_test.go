package value_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// What is made of stored candidates is what would have been observed of them, had they been taken.
func TestCandidates(t *testing.T) {
	logits := []float32{1, 4, 2, 3, 0}
	var sum, entropy float64
	for _, l := range logits {
		sum += math.Exp(float64(l))
	}
	lse := float32(math.Log(sum))
	for _, l := range logits {
		logp := float64(l - lse)
		entropy -= math.Exp(logp) * logp
	}
	row := &llama.Row{Logits: logits, Top: []int32{1, 3, 2}, TopLogits: []float32{4, 3, 2}, LSE: lse, Entropy: float32(entropy)}
	_, taken := value.Observe(row, 2)
	stored := &states.Trajectory{
		Tokens: []int32{2}, Scalars: taken[:], Candidates: row.Top, CandidateLogProbs: []float32{4 - lse, 3 - lse, 2 - lse},
	}
	got := value.Candidates(stored, 2, 0.5)
	want := &valuehead.Candidates{K: 2, Tokens: []int32{1, 3}}
	for _, token := range want.Tokens {
		logp, scalars := value.Observe(row, token)
		want.LogProbs, want.Scalars = append(want.LogProbs, logp/0.5), append(want.Scalars, scalars[:]...)
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-6 })); diff != "" {
		t.Error(diff)
	}
	if c := value.Candidates(&states.Trajectory{Tokens: []int32{2}, Scalars: taken[:]}, 2, 1); c != nil {
		t.Errorf("of a store without candidates: %+v", c)
	}
}
