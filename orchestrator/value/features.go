package value

import (
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
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

// Thought is a further one, of policies that think before they answer: 1 of the states within a thought, 0 of others.
const Thought = "thinking"

// ScalarsOf are those of a policy: where it thinks, they end with Thought.
func ScalarsOf(thinks bool) []string {
	if thinks {
		return append(slices.Clip(Scalars), Thought)
	}
	return Scalars
}

// NumScalars is the number of those of a policy that thinks. NextEntropy is the index of the one that is filled in
// after the token was fed, and Thinking that of the one that others lack.
const (
	NumScalars  = 6
	NextEntropy = 4
	Thinking    = 5
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
	return logp, [NumScalars]float32{logp, row.Entropy, float32(math.Log1p(float64(rank))), row.TopLogits[0] - l}
}

// Candidates are the k likeliest tokens of every state of a stored trajectory, or as many as are stored, with
// what [Observe] said of each of them: log-probabilities are stored, ranks are the order, and the entropy is that
// which the token that was taken had. temp is the temperature of the base policy; nil where none are stored.
func Candidates(t *states.Trajectory, k int, temp float64) *valuehead.Candidates {
	n := len(t.Tokens)
	if n == 0 || len(t.Candidates) == 0 {
		return nil
	}
	width := len(t.Scalars) / n
	if width != len(Scalars) && width != NumScalars {
		return nil
	}
	stored := len(t.Candidates) / n
	k = min(k, stored)
	c := &valuehead.Candidates{K: k}
	for i := range n {
		logps := t.CandidateLogProbs[i*stored:][:k]
		entropy := t.Scalars[i*width+1]
		before := max(0, i-1) // nearly all tokens go on with what is under way there
		c.Tokens = append(c.Tokens, t.Candidates[i*stored:][:k]...)
		for j, logp := range logps {
			c.LogProbs = append(c.LogProbs, logp/float32(temp))
			c.Scalars = append(c.Scalars, logp, entropy, float32(math.Log1p(float64(j))), logps[0]-logp, 0)
			c.Scalars = append(c.Scalars, t.Scalars[before*width+len(Scalars):][:width-len(Scalars)]...)
		}
	}
	return c
}
