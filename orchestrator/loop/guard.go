package loop

import (
	"context"
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// guidance are the betas by which the value function is followed ever further, to see how the reward
// and a second one, from which nothing was learned, part.
var guidance = []float64{1, 2, 4, 8}

// guided names the method of a beta.
func guided(beta float64) string { return fmt.Sprintf("guided-b%g", beta) }

// guided is guided sampling by a beta: of all tokens, where the head knows what each adds, which costs
// one decode a token, or of the likeliest.
func (o *Options) guided(beta float64, advantages bool) decode.Strategy {
	s := decode.Strategy{Method: decode.MethodTokenwise, Guide: decode.Guide{TopK: max(1, min(20, o.Parallel-1)), Beta: beta, Rest: decode.RestParent, LeastP: 0.001}}
	if advantages {
		s.Method = decode.MethodOnePass
	}
	return s
}

// guard watches the evaluation for over-optimization.
type guard struct {
	*looping
	methods []eval.Judged
}

func (l *looping) newGuard() *guard { return &guard{looping: l} }

// judge has the second reward score a method's answers, if there is one.
func (g *guard) judge(ctx context.Context, r *eval.Result, names []string, from map[string]string) error {
	if g.Second == nil {
		return nil
	}
	answers, left, err := g.scored(ctx, &g.second, r.Method, names, from)
	if err == nil && !g.o.SkipUnscored {
		err = left.Err(len(g.Test))
	}
	if err != nil {
		return fmt.Errorf("second reward: %w", err)
	}
	r.SecondBy(answers, g.o.Seed)
	g.methods = append(g.methods, eval.Judged{Method: r.Method, Reward: r.Answers, Second: answers})
	return nil
}

// conclude notes what was found.
func (g *guard) conclude(e *Evaluation) {
	if g.Second == nil {
		return
	}
	rising := slices.DeleteFunc(slices.Clone(g.methods), func(j eval.Judged) bool {
		return j.Method != e.Methods[0].Method && !slices.ContainsFunc(guidance, func(beta float64) bool { return j.Method == guided(beta) })
	})
	e.Second, e.Overoptimized = g.Second.Info().Name, eval.Guard(g.methods, rising, g.o.Seed)
}
