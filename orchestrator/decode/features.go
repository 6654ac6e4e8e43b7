package decode

import (
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
)

// Scalars names the per-token features that value functions see beside the hidden
// states. They are free: the logits are there. How surprised the model was by its own
// tokens says more about a mistake than the state after it.
var Scalars = []string{
	"logp",         // log p(a_t | s_{t-1}) at temperature 1
	"entropy",      // of p(. | s_{t-1}), nats
	"log-rank",     // log(1 + rank of a_t), the likeliest having rank 0
	"margin",       // log p of the likeliest token minus that of a_t
	"next-entropy", // of p(. | s_t), nats
}

// numScalars is len(Scalars).
const numScalars = 5

// observe gathers what the row before a token says of it. The last scalar has to wait
// for the row after it.
func observe(row *llama.Row, token int32) (logp float32, scalars [numScalars]float32) {
	l := row.Logits[token]
	rank := len(row.Top) // of every token outside the sorted candidates
	for i, id := range row.Top {
		if id == token {
			rank = i
			break
		}
	}
	logp = l - row.LSE
	return logp, [...]float32{logp, row.Entropy, float32(math.Log1p(float64(rank))), row.TopLogits[0] - l, 0}
}

// Candidates is the number of likeliest tokens of every state that are recorded, at most:
// no more than the engine lists. Twenty are those that tokenwise guidance tilts (Eq. 5).
const Candidates = 20

// candidates are the likeliest tokens at a row with their log-probabilities.
func candidates(row *llama.Row) (tokens []int32, logps []float32) {
	n := min(Candidates, len(row.Top))
	logps = make([]float32, n)
	for i, l := range row.TopLogits[:n] {
		logps[i] = max(l-row.LSE, leastLogP)
	}
	return slices.Clone(row.Top[:n]), logps
}

// leastLogP stands for the log-probability of what is impossible.
const leastLogP = -6e4

const nextEntropy = 4 // index of the scalar that is filled in after the token was fed
