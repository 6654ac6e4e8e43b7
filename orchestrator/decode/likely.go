package decode

import (
	"slices"

	"github.com/ivo-decoding/ivo/llama"
)

// Candidates is the number of likeliest tokens of every state that are recorded, at most:
// no more than the engine lists. Twenty are those that tokenwise guidance tilts (Eq. 5).
const Candidates = 20

// candidates is the number of likeliest tokens that a request wants to know of every state.
func (r *Request) candidates() int {
	if r.Record {
		return Candidates
	}
	return r.TopLogProbs
}

// candidates are the n likeliest tokens at a row with their log-probabilities.
func candidates(row *llama.Row, n int) (tokens []int32, logps []float32) {
	n = min(n, len(row.Top))
	logps = make([]float32, n)
	for i, l := range row.TopLogits[:n] {
		logps[i] = max(l-row.LSE, leastLogP)
	}
	return slices.Clone(row.Top[:n]), logps
}

// leastLogP stands for the log-probability of what is impossible.
const leastLogP = -6e4
