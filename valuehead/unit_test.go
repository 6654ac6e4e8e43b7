package valuehead

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Tilting what the base policy may say along responses by 2 in the unit of a table costs 2 nats a
// response, by the definition of the divergence and at the temperature of the responses.
func TestUnitIsOfNats(t *testing.T) {
	const k, temp, vocabulary = 5, 0.7, 12
	rng := rand.New(rand.NewPCG(3, 4))
	a := &Advantages{vocabulary: vocabulary, table: make([]float32, vocabulary), once: true}
	normal(a.table, rng, 0.3)
	c := choices{temp: temp}
	var all []*states.Trajectory
	for range 6 {
		tr := &states.Trajectory{}
		for range 3 + rng.IntN(9) {
			likely := rng.Perm(vocabulary)[:k]
			for _, y := range likely {
				tr.Candidates = append(tr.Candidates, int32(y))
				tr.CandidateLogProbs = append(tr.CandidateLogProbs, float32(-3*rng.Float64()))
			}
			tr.Tokens = append(tr.Tokens, int32(likely[rng.IntN(k)]))
		}
		all = append(all, tr)
		c.add(tr, func(said []int32, y int32) float32 { return a.token(nil, said, y) })
	}
	beta, total := 2/c.unit(len(all)), 0.0
	for _, tr := range all {
		said := map[int32]bool{}
		for i, y := range tr.Tokens {
			var p, q [k]float64
			sumP, sumQ := 0.0, 0.0
			for j, y := range tr.Candidates[i*k : (i+1)*k] {
				p[j] = math.Exp(float64(tr.CandidateLogProbs[i*k+j]) / temp)
				if q[j] = p[j]; !said[y] {
					q[j] *= math.Exp(beta * float64(a.table[y]))
				}
				sumP, sumQ = sumP+p[j], sumQ+q[j]
			}
			for j := range k {
				total += q[j] / sumQ * math.Log(q[j]/sumQ/(p[j]/sumP))
			}
			said[y] = true
		}
	}
	if got := total / float64(len(all)); math.Abs(got-2) > 1e-6 {
		t.Errorf("2 units are %v nats", got)
	}
	clear(a.table)
	c = choices{temp: temp}
	c.add(all[0], func(said []int32, y int32) float32 { return a.token(nil, said, y) })
	if got := c.unit(1); got != 0 {
		t.Errorf("the unit of a table of zeros is %v", got)
	}
}
