package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/learn/pairwise"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
	"github.com/ivo-decoding/ivo/valuehead"
)

const (
	rewardSamples = 4   // answers to a training prompt at T=0.7: two pairs
	labelNoise    = 0.1 // of the pairs have the worse side as the chosen one
	clearMargin   = 2.0 // of gold reward, from which on two test answers differ clearly
)

// rewardFigures say how well the learned reward knows the gold one, on the test prompts.
type rewardFigures struct {
	Pairs              int // that were learned from
	Report             *pairwise.Report
	Answers            int
	Clear              int     // pairs of answers to one test prompt that differ clearly
	Accuracy, Spearman float64 // of those pairs, and of all answers with the gold reward
}

// learnReward makes the lab's learned reward: a head on the model's own states from pairs of its answers,
// labelled by the gold rule with noise.
func (r recipe) learnReward(ctx context.Context) error {
	m, err := llama.Load(r.modelPath(), llama.ModelParams{})
	if err != nil {
		return err
	}
	defer m.Close()
	path := filepath.Join(r.work, "pairs.jsonl")
	pairs, _, err := preference.Read(path, preference.Options{})
	if err != nil {
		say("draw %d answers to each of %d prompts", rewardSamples, r.trainPrompts)
		if pairs, err = r.labelledPairs(ctx, m); err != nil {
			return err
		}
		if err := preference.Write(path, pairs); err != nil {
			return err
		}
	}
	trunk := pairwise.Trunk{Model: m, Template: pairwise.Bare}
	for l := range m.Info().Layers {
		trunk.Layers = append(trunk.Layers, l)
	}
	say("states of %d pairs", len(pairs))
	data, err := trunk.Collect(ctx, filepath.Join(r.work, "states"), pairs, nil)
	if err != nil {
		return err
	}
	// The gold rule is a sum over what is said, so are the heads that are tried.
	f := rewardFigures{Pairs: len(pairs)}
	var h *head.Head
	h, f.Report, err = trunk.Train(ctx, data, pairwise.Options{
		Kind: r.rewardHead, Pooling: head.Sum, Hidden: 64, Seed: r.seed, HeldOut: 0.05, Workers: r.threads,
		Progress: func(done, of int, t pairwise.Trial) {
			say("head %d of %d: %s: log loss %.3f, accuracy %.3f", done, of, t.Name, t.LogLoss, t.Accuracy)
		},
	})
	if err != nil {
		return err
	}
	if err := h.Save(r.path("reward.gguf")); err != nil {
		return err
	}
	if err := f.measure(ctx, m, h, r.path("test.jsonl")); err != nil {
		return err
	}
	say("%d pairs of test answers that differ by %g or more: %.3f right; Spearman with gold %.3f", f.Clear, clearMargin, f.Accuracy, f.Spearman)
	return r.writeRewardCard(f)
}

// labelledPairs are pairs of answers that differ in gold reward, two of each prompt.
func (r recipe) labelledPairs(ctx context.Context, m *llama.Model) (pairs []preference.Pair, err error) {
	prompts, err := prompt.Read(r.path("train.jsonl"), prompt.ReadOptions{})
	if err != nil {
		return nil, err
	}
	e, err := engine.New(m, engine.Params{Sequences: 32})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	drawn, err := sample(ctx, e, prompts, baseTemp, rewardSamples)
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(r.seed, 13))
	for i, a := range drawn {
		for k := 0; k+1 < len(a.responses); k += 2 {
			better, worse := a.responses[k], a.responses[k+1]
			if better.reward == worse.reward || strings.TrimSpace(better.text) == "" || strings.TrimSpace(worse.text) == "" {
				continue
			}
			if (better.reward < worse.reward) != (rng.Float64() < labelNoise) {
				better, worse = worse, better
			}
			pairs = append(pairs, preference.Pair{
				Prompt: prompt.Record{ID: fmt.Sprintf("%s-%d", prompts[i].ID, k/2), Text: prompts[i].Text}, Chosen: better.text, Rejected: worse.text,
			})
		}
	}
	return pairs, nil
}

// measure scores the model's answers to the test prompts by the head and by the gold rule.
func (f *rewardFigures) measure(ctx context.Context, m *llama.Model, h *head.Head, promptFile string) error {
	prompts, err := prompt.Read(promptFile, prompt.ReadOptions{})
	if err != nil {
		return err
	}
	e, err := engine.New(m, engine.Params{Sequences: 32})
	if err != nil {
		return err
	}
	defer e.Close()
	drawn, err := sample(ctx, e, prompts, baseTemp, 2*rewardSamples)
	if err != nil {
		return err
	}
	s, err := head.NewScorer(h, m)
	if err != nil {
		return err
	}
	defer s.Close()
	var answers []head.Answer
	for i, a := range drawn {
		for _, x := range a.responses {
			answers = append(answers, head.Answer{Prompt: prompts[i], Response: x.text})
		}
	}
	scores, err := s.Score(ctx, answers)
	if err != nil {
		return err
	}
	var learned [][]float32
	var gold []float32
	at := 0
	right := 0.0
	for _, a := range drawn {
		for i, x := range a.responses {
			if err := scores[at+i].Err; err != nil {
				return err
			}
			learned, gold = append(learned, []float32{float32(scores[at+i].Value)}), append(gold, float32(x.reward))
			for j, y := range a.responses[:i] {
				if math.Abs(x.reward-y.reward) < clearMargin {
					continue
				}
				f.Clear++
				if (scores[at+i].Value > scores[at+j].Value) == (x.reward > y.reward) {
					right++
				}
			}
		}
		at += len(a.responses)
	}
	f.Answers = len(learned)
	f.Accuracy, f.Spearman = right/float64(f.Clear), valuehead.MetricsOf(learned, gold).All.Spearman
	return nil
}

// writeRewardCard describes the learned reward in Markdown.
func (r recipe) writeRewardCard(f rewardFigures) error {
	return atomicfile.Write(r.path("reward.md"), func(out io.Writer) error {
		w := &strings.Builder{}
		line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
		line("# %s\n", filepath.Base(r.path("reward.gguf")))
		line("The lab's learned reward, made by `make lab`: a head on the states of `%s`, from pairs of that model's", filepath.Base(r.modelPath()))
		line("answers (T=%g) to the training prompts. The gold rule says which is the better one, and of %.0f %% of the pairs the wrong one.\n", baseTemp, 100*labelNoise)
		line("| | |\n|---|---|")
		line("| head | %s |", f.Report.Head.Name)
		line("| pairs | %d, of which %d to learn from; seed %d |", f.Pairs, f.Report.Pairs, r.seed)
		line("| noisy pairs of held-out prompts | %.3f right, 95 %% interval %.3f to %.3f |", f.Report.Accuracy.Mean, f.Report.Accuracy.Lo, f.Report.Accuracy.Hi)
		for _, b := range f.Report.Baselines {
			line("| by %s | %.3f |", b.Name, b.Accuracy.Mean)
		}
		line("| test answers whose gold rewards differ by %g or more | %.3f right of %d pairs |", clearMargin, f.Accuracy, f.Clear)
		line("| Spearman with the gold reward | %.3f over %d test answers |\n", f.Spearman, f.Answers)
		line("| tried | log loss | accuracy |\n|---|---|---|")
		for _, t := range f.Report.Tried {
			line("| %s | %.3f | %.3f |", t.Name, t.LogLoss, t.Accuracy)
		}
		_, err := io.WriteString(out, w.String())
		return err
	})
}
