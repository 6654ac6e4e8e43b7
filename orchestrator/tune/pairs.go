package tune

import (
	"cmp"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Pair is two answers to a prompt, the better one first, in tokens. The token that ends an answer is one of
// them where the answer ended by itself.
type Pair struct {
	Prompt           prompt.Encoded
	Chosen, Rejected []int32
}

// OfTexts makes tokens of pairs of texts, as the prompts are encoded. Every answer ends by itself.
func OfTexts(m *llama.Model, e *prompt.Encoder, pairs []preference.Pair) ([]Pair, error) {
	var end []int32 // the token that ends an answer, if there is one
	for _, token := range []int32{m.EOT(), m.EOS()} {
		if end == nil && m.IsEOG(token) {
			end = []int32{token}
		}
	}
	out := make([]Pair, len(pairs))
	for i, p := range pairs {
		tokens, err := e.Encode(p.Prompt)
		if err != nil {
			return nil, err
		}
		out[i].Prompt = prompt.Encoded{Record: p.Prompt, Tokens: tokens}
		for text, to := range map[string]*[]int32{p.Chosen: &out[i].Chosen, p.Rejected: &out[i].Rejected} {
			if *to, err = e.Continuation(p.Prompt, text); err != nil {
				return nil, err
			}
			*to = slices.Concat(*to, end)
		}
	}
	return out, nil
}

// PairsOfRun are the best and the worst of a run's samples of each prompt, by its own reward, as they were drawn.
// In round 1 the base policy drew them. samples is how many there were.
func PairsOfRun(dir string, round int, e *prompt.Encoder) (pairs []Pair, samples int, err error) {
	scored, err := loop.ScoredPrompts(op, dir, round, "")
	if err != nil {
		return nil, 0, err
	}
	for _, s := range scored {
		samples += len(s.Answers)
		by := func(a, b eval.Answer) int { return cmp.Compare(a.Reward, b.Reward) }
		best, worst := slices.MaxFunc(s.Answers, by), slices.MinFunc(s.Answers, by)
		if best.Reward == worst.Reward {
			continue
		}
		tokens, err := e.Encode(s.Prompt)
		if err != nil {
			return nil, 0, err
		}
		pairs = append(pairs, Pair{prompt.Encoded{Record: s.Prompt, Tokens: tokens}, best.Tokens, worst.Tokens})
	}
	if len(pairs) == 0 {
		return nil, 0, fault.New(op, "run", nil, "collect more samples, or take another run", "no two responses to a prompt differ in their rewards in %s", dir)
	}
	return pairs, samples, nil
}

// encode makes documents of the pairs that are not too long.
func (t *tuning) encode() error {
	most := min(t.Longest, t.base.Config.Context)
	type tokens struct{ Prompt, Chosen, Rejected []int32 }
	var all []tokens
	for _, p := range t.Pairs {
		of := func(answer []int32) train.Doc {
			weights := slices.Concat(make([]float32, len(p.Prompt.Tokens)), slices.Repeat([]float32{1}, len(answer)))
			return train.Doc{Tokens: slices.Concat(p.Prompt.Tokens, answer), Weights: weights}
		}
		if len(p.Prompt.Tokens)+max(len(p.Chosen), len(p.Rejected)) > most {
			t.left++
			continue
		}
		t.pairs = append(t.pairs, train.Pair{Chosen: of(p.Chosen), Rejected: of(p.Rejected)})
		all = append(all, tokens{p.Prompt.Tokens, p.Chosen, p.Rejected})
	}
	if len(t.pairs) == 0 {
		return fault.New(op, "pairs", nil, "take shorter ones", "none of %d pairs has at most %d tokens", len(t.Pairs), most)
	}
	t.data = run.Key(all)
	return nil
}
