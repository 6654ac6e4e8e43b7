package main

import (
	"math"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

// row is what a method gave, prompt by prompt: the means of its answers to each, over samples and
// seeds.
type row struct {
	method
	reward []float64
	others map[string][]float64 // by the rewards' specs
	kl     []float64            // nats from the base policy, a bound where it is not exact
	exact  bool
	ratio  float64  // tokens decoded for each one of the answers
	tokens float64  // decoded for an answer
	calls  float64  // of the reward for an answer
	shown  []answer // the first answer to each prompt
}

// row sums up the answers that a method's draw gave under each seed.
func (m method) row(t task, seeds [][]answer) row {
	n := len(seeds[0]) / m.Samples
	r := row{method: m, reward: make([]float64, n), kl: make([]float64, n), others: map[string][]float64{}, shown: make([]answer, n), exact: m.n == 1}
	for _, name := range t.others {
		r.others[name] = make([]float64, n)
	}
	groups := m.Samples / m.n
	share := 1 / float64(groups*len(seeds))
	decoded, emitted := 0, 0
	for k, answers := range seeds {
		for i := range n {
			for g := range groups {
				group := answers[i*m.Samples+g*m.n:][:m.n]
				a, kl := m.best(group)
				r.reward[i] += share * byTask(a)
				for o, name := range t.others {
					r.others[name][i] += share * a.Rewards[1+o]
				}
				r.kl[i] += share * kl
				r.exact = r.exact && a.KLKind == decode.KLExact
				r.calls += share * float64(a.RewardCalls) / float64(n)
				emitted += a.Emitted
				for _, a := range group {
					decoded += a.Decoded
				}
				if k == 0 && g == 0 {
					r.shown[i] = a
				}
			}
		}
	}
	if m.n > 1 && (m.kind == byReward || m.kind == rewardToo) {
		r.calls = float64(m.n)
	}
	r.ratio, r.tokens = float64(decoded)/float64(max(1, emitted)), share*float64(decoded)/float64(n)
	return r
}

// best is the answer that is taken of some samples, and the KL of doing so: at most
// log n - (n-1)/n from the policy that drew them (arXiv 2401.01879), to which the answer's
// log-probability under that less the base policy's is added.
func (m method) best(group []answer) (answer, float64) {
	if m.n == 1 {
		return group[0], float64(group[0].KL)
	}
	best := group[0]
	for _, a := range group[1:] {
		if m.choose(a) > m.choose(best) {
			best = a
		}
	}
	return best, math.Log(float64(m.n)) - float64(m.n-1)/float64(m.n) + float64(best.Ratio)
}

// interval is the mean of one number a prompt; paired that of the difference of two methods.
func interval(perPrompt []float64) eval.Interval { return eval.Bootstrap(perPrompt, 1) }

func paired(a, b []float64) eval.Interval { return eval.Paired(a, b, 1) }

// setting is the part of a method's name by which members of a family differ.
var setting = regexp.MustCompile(`beta=[0-9.]+|[0-9.]+$`)

// page writes a task's page with its plots.
func (r *recipe) page(res result) error {
	f := report.Frontier{Reward: res.reward, Model: filepath.Base(r.model), Temp: sampling.Temp, Seeds: r.effort.seeds}
	base := res.rows[0]
	for _, row := range res.rows {
		kind := decode.KLExact
		if !row.exact {
			kind = decode.KLBound
		}
		f.Rows = append(f.Rows, report.FrontierRow{
			Result: eval.Result{
				Method: row.name, N: len(row.reward), Reward: interval(row.reward), WinRate: eval.WinRate(row.reward, base.reward),
				DecodedPerEmitted: row.ratio, KL: interval(row.kl), KLKind: kind,
			},
			Family: strings.TrimSpace(setting.ReplaceAllString(row.name, "")),
			Guided: row.kind != alone && row.n == 1, Ranked: row.n > 1,
		})
	}
	return report.WriteFrontier(filepath.Join(r.out, r.effort.name+"-"+res.name+".html"), f)
}
