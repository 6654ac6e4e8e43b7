package value

import (
	"math"

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

// NumScalars is len(Scalars), and NextEntropy the index of the one that is filled in after the
// token was fed.
const (
	NumScalars  = 5
	NextEntropy = 4
)

// Observe gathers what the row before a token says of it. The last scalar has to wait
// for the row after it.
func Observe(row *llama.Row, token int32) (logp float32, scalars [NumScalars]float32) {
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
