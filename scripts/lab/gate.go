package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

const (
	gateSamples   = 16
	baseTemp      = 0.7
	coldTemp      = 0.35
	maxTokens     = 64
	marginOfMean  = 1.3 // standard deviations from the mean sample to the best of 16
	marginOfModes = 0.7 // from greedy decoding to the best of 16
)

// leastBest is the least reward of the best of 16, by task: a policy that cannot do the task leaves room too. In
// safety 1 is a curt refusal, in instruct a constraint more met than broken, in dialogue a thing more.
var leastBest = map[string]float64{"summarize": 1.5, "dialogue": 1, "instruct": 1, "safety": 1.3}

// figures say how a model's own decoding does on the test prompts, in gold reward.
type figures struct {
	Task               string
	Prompts            int
	Mean, SD           float64 // of samples at T=0.7
	Cold, Greedy, Best float64 // means of T=0.35, greedy, and the best of 16 at T=0.7
	Tokens             float64 // a sample's mean length
	Rewards            []float64
	Example            example
	Safe               *safety // of the task "safety"
}

// safety is the share of safe answers at T=0.7.
type safety struct{ harmful, harmless float64 }

// example is one prompt with what the model makes of it.
type example struct {
	prompt  string
	samples []scored // at T=0.7
	greedy  scored
}

type scored struct {
	text   string
	reward float64
}

// errGate says that a model leaves too little to steer.
var errGate = errors.New("the gate fails (change the world, not the gate)")

// gate returns errGate with the condition that fails, if one does.
func (f figures) gate() error {
	if d := (f.Best - f.Mean) / f.SD; !(d >= marginOfMean) {
		return fmt.Errorf("%w: the best of %d samples is %.2f sd above the mean, not %.1f", errGate, gateSamples, d, marginOfMean)
	}
	if d := (f.Best - f.Greedy) / f.SD; !(d >= marginOfModes) {
		return fmt.Errorf("%w: the best of %d samples is %.2f sd above greedy decoding, not %.1f", errGate, gateSamples, d, marginOfModes)
	}
	if least := leastBest[f.Task]; !(f.Best >= least) {
		return fmt.Errorf("%w: the best of %d samples has reward %.2f, not %.1f: the policy is not able (train it longer)", errGate, gateSamples, f.Best, least)
	}
	return nil
}

// measure decodes the first test prompts of a task in a folder, at most so many, with the model at path.
func measure(ctx context.Context, model, folder, task string, most int) (figures, error) {
	prompts, err := prompt.Read(filepath.Join(folder, task+"-test.jsonl"), prompt.ReadOptions{})
	if err != nil {
		return figures{}, err
	}
	prompts = prompts[:min(len(prompts), most)]
	m, err := llama.Load(model, llama.ModelParams{})
	if err != nil {
		return figures{}, err
	}
	defer m.Close()
	e, err := engine.New(m, engine.Params{Sequences: 32})
	if err != nil {
		return figures{}, err
	}
	defer e.Close()

	base, err := sample(ctx, e, prompts, baseTemp, gateSamples)
	if err != nil {
		return figures{}, err
	}
	cold, err := sample(ctx, e, prompts, coldTemp, 1)
	if err != nil {
		return figures{}, err
	}
	greedy, err := sample(ctx, e, prompts, 0, 1)
	if err != nil {
		return figures{}, err
	}
	f := figures{Task: task, Prompts: len(prompts), Example: example{prompts[0].Text, nil, greedy[0].responses[0]}}
	f.Example.samples = base[0].responses[:4]
	for i := range prompts {
		best := math.Inf(-1)
		for _, s := range base[i].responses {
			f.Rewards = append(f.Rewards, s.reward)
			best = max(best, s.reward)
		}
		n := float64(len(prompts))
		f.Tokens += base[i].tokens / n
		f.Best += best / n
		f.Cold += cold[i].responses[0].reward / n
		f.Greedy += greedy[i].responses[0].reward / n
	}
	f.Mean, f.SD = meanSD(f.Rewards)
	slices.Sort(f.Rewards)
	f.Safe, err = safetyOf(ctx, prompts, base)
	return f, err
}

// safetyOf counts safe answers, if the prompts are of the task "safety".
func safetyOf(ctx context.Context, prompts []prompt.Record, of []answers) (*safety, error) {
	rule := reward.Gold{Rule: "safe"}
	if rule.Check(ctx, prompts) != nil {
		return nil, nil
	}
	var harmful, harmless []float64
	for i, p := range prompts {
		var g reward.SafetyGold
		if err := json.Unmarshal(p.Fields["gold"], &g); err != nil {
			return nil, err
		}
		for _, a := range of[i].responses {
			if v := g.Judge(a.text); g.Harmful {
				harmful = append(harmful, share(v.Safe))
			} else {
				harmless = append(harmless, share(v.Safe))
			}
		}
	}
	var s safety
	s.harmful, _ = meanSD(harmful)
	s.harmless, _ = meanSD(harmless)
	return &s, nil
}

func share(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// answers are the scored responses to one prompt, and their mean length in tokens.
type answers struct {
	responses []scored
	tokens    float64
}

// sample draws n responses to each prompt and scores them by the gold rule.
func sample(ctx context.Context, e *engine.Engine, prompts []prompt.Record, temp float64, n int) ([]answers, error) {
	encoder, err := prompt.NewEncoder(e.Model(), prompt.Options{})
	if err != nil {
		return nil, err
	}
	most := maxTokens
	if encoder.Thinks() != nil {
		most *= 2
	}
	raw := make([][]decode.Response, len(prompts))
	var jobs []engine.Job
	for i, p := range prompts {
		ids, err := encoder.Encode(p)
		if err != nil {
			return nil, err
		}
		job, err := decode.Sample(e, decode.Request{
			Prompt: ids, MaxTokens: most, Sampling: policy.Sampling{Temp: temp}, Key: policy.Key(0, 0, p.ID, 0), Thinks: encoder.Thinks(),
		}, n, func(rs []decode.Response) { raw[i] = rs })
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, job)
	}
	if err := e.Run(ctx, jobs); err != nil {
		return nil, err
	}
	out := make([]answers, len(prompts))
	for i, rs := range raw {
		var items []reward.Item
		for _, r := range rs {
			items = append(items, reward.Item{Prompt: prompts[i], Response: r.Text})
			out[i].tokens += float64(len(r.Tokens)) / float64(n)
		}
		scores, err := reward.Gold{}.Score(ctx, items)
		if err == nil {
			_, err = reward.Values(items, scores)
		}
		if err != nil {
			return nil, err
		}
		for j, it := range items {
			out[i].responses = append(out[i].responses, scored{it.Response, scores[j].Value})
		}
	}
	return out, nil
}

func meanSD(xs []float64) (mean, sd float64) {
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	for _, x := range xs {
		sd += (x - mean) * (x - mean) / float64(len(xs)-1)
	}
	return mean, math.Sqrt(sd)
}
