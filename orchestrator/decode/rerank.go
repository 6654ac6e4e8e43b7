package decode

import (
	"math"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// rewards scores texts by the request's reward, none twice.
func (d *decoder) rewards(texts []string) ([]float64, error) {
	var asked []string
	for _, text := range texts {
		if _, ok := d.known[text]; !ok {
			d.known[text] = math.NaN() // it may stand there again
			asked = append(asked, text)
		}
	}
	if len(asked) > 0 {
		scores, err := d.req.Rerank(d.s.Context(), asked)
		if err != nil {
			return nil, err
		}
		if len(scores) != len(asked) {
			return nil, fault.New("decode", "rerank", nil, "a reward scores every text", "%d scores for %d texts", len(scores), len(asked))
		}
		for i, score := range scores {
			if score-score != 0 { // not finite
				return nil, fault.New("decode", "rerank", nil, "rewards are finite: mend the one of {rerank}", "the reward of %q is %v", asked[i], score)
			}
			d.known[asked[i]] = score
		}
		d.rewardCalls += len(asked)
	}
	out := make([]float64, len(texts))
	for i, text := range texts {
		out[i] = d.known[text]
	}
	return out, nil
}

// choose is the number of the text with the highest reward; of equal ones, as where the same text was
// drawn twice, that of the highest value, or the first. Without a reward values alone count.
func (d *decoder) choose(texts []string, values []float32) (int, error) {
	rewards := make([]float64, len(texts))
	if d.req.Rerank != nil {
		var err error
		if rewards, err = d.rewards(texts); err != nil {
			return 0, err
		}
	}
	best := 0
	for i := range texts {
		if rewards[i] > rewards[best] || rewards[i] == rewards[best] && values[i] > values[best] {
			best = i
		}
	}
	return best, nil
}
