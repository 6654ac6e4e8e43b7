package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
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
	taking := experiment.Taking{Strategy: m.Strategy, Samples: m.Samples, BestOf: m.n, ByValue: m.byValue}
	r := row{method: m, others: map[string][]float64{}, exact: true}
	var all experiment.Outcome
	decoded, emitted, calls, answers := 0, 0, 0, 0
	for _, samples := range seeds {
		c := taking.Cell(samples)
		all.Cells = append(all.Cells, c)
		r.exact = r.exact && c.Exact
		decoded, emitted, calls, answers = decoded+c.Decoded, emitted+c.Emitted, calls+c.Calls, answers+len(c.KL)*c.Answers
	}
	r.reward, r.kl = perPrompt(all.Rewards(0)), perPrompt(all.KL())
	for i, name := range t.others {
		r.others[name] = perPrompt(all.Rewards(1 + i))
	}
	r.ratio, r.tokens, r.calls = float64(decoded)/float64(max(1, emitted)), float64(decoded)/float64(answers), float64(calls)/float64(answers)
	for of := range slices.Chunk(seeds[0], m.Samples) {
		first, _ := taking.Best(of[:m.n])
		r.shown = append(r.shown, first)
	}
	return r
}

// perPrompt are the means over seeds of numbers by seed and prompt.
func perPrompt(bySeed [][]float64) []float64 {
	out := make([]float64, len(bySeed[0]))
	for _, of := range bySeed {
		for i, x := range of {
			out[i] += x / float64(len(bySeed))
		}
	}
	return out
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
