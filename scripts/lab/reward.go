package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/learn/pairwise"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
	"github.com/ivo-decoding/ivo/scripts/lab/world"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// rewarded is the policy on whose states the learned reward is.
const rewarded = "summarize-s"

const (
	rewardSamples = 4   // answers to a training prompt at T=0.7: two pairs
	labelNoise    = 0.1 // of the pairs have the worse side as the chosen one
	clearMargin   = 2.0 // of gold reward, from which on two test answers differ clearly
)

// rewardFigures say how well the learned reward knows the gold one, on the test prompts.
type rewardFigures struct {
	Pairs         int // that were learned from
	Report        *pairwise.Report
	Learned, Gold agreement // of the reward, and of a value head that was told the gold rewards
}

// agreement is that of scores with the gold reward on answers to the test prompts.
type agreement struct {
	Answers            int
	Clear              int     // pairs of answers to one prompt that differ clearly
	Accuracy, Spearman float64 // of those pairs, and of all answers
}

// learnReward makes the lab's learned reward: a head on the model's own states from pairs of its answers,
// labelled by the gold rule with noise.
func (r recipe) learnReward(ctx context.Context) error {
	m, err := llama.Load(r.path(rewarded+".gguf"), llama.ModelParams{})
	if err != nil {
		return err
	}
	defer m.Close()
	path := filepath.Join(r.work, "pairs.jsonl")
	pairs, _, err := preference.Read(path, preference.Options{})
	if err != nil {
		say("draw %d answers to each of %d prompts", rewardSamples, r.prompts[world.Train])
		if pairs, err = r.labelledPairs(ctx, m); err != nil {
			return err
		}
		if err := preference.Write(path, pairs); err != nil {
			return err
		}
	}
	trunk := pairwise.Trunk{Model: m, Template: pairwise.Bare, Layers: []int{0, m.Info().Layers * 3 / 5}, Prompts: true}
	say("states of %d pairs", len(pairs))
	data, err := trunk.Collect(ctx, filepath.Join(r.work, "states"), pairs, nil)
	if err != nil {
		return err
	}
	// The gold rule is a sum over what is said: heads that pool take sums.
	f := rewardFigures{Pairs: len(pairs)}
	var h *head.Head
	h, f.Report, err = trunk.Train(ctx, data, pairwise.Options{
		Kind: r.rewardHead, Pooling: head.Sum, Hidden: 64, Seed: r.seed, HeldOut: 0.05, Noise: labelNoise, Epochs: r.rewardEpochs, Workers: r.threads,
		Progress: func(done, of int, t pairwise.Trial) {
			say("head %d of %d: %s: log loss %.3f, accuracy %.3f", done, of, t.Name, t.LogLoss, t.Accuracy)
		},
	})
	if err != nil {
		return err
	}
	if err := h.Save(r.path("summarize-reward.gguf")); err != nil {
		return err
	}
	say("a value head of the gold rewards of the same answers")
	told, err := r.goldHead(ctx, m, trunk.Layers, pairs)
	if err != nil {
		return err
	}
	drawn, err := r.testAnswers(ctx, m)
	if err != nil {
		return err
	}
	for _, x := range []struct {
		name string
		head *head.Head
		to   *agreement
	}{{"the learned reward", h, &f.Learned}, {"the value head", told, &f.Gold}} {
		if *x.to, err = agree(ctx, m, x.head, drawn); err != nil {
			return err
		}
		say("%s: %.3f right of %d pairs of test answers that differ by %g or more; Spearman with gold %.3f", x.name, x.to.Accuracy, x.to.Clear, clearMargin, x.to.Spearman)
	}
	return r.writeRewardCard(f)
}

// labelledPairs are pairs of answers that differ in gold reward, two of each prompt.
func (r recipe) labelledPairs(ctx context.Context, m *llama.Model) (pairs []preference.Pair, err error) {
	prompts, err := prompt.Read(r.path("summarize-train.jsonl"), prompt.ReadOptions{})
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

// goldHead is a value head that looks back at the prompt, trained on the gold rewards of the answers in
// the pairs: what the reward's kind of head can tell of these states.
func (r recipe) goldHead(ctx context.Context, m *llama.Model, layers []int, pairs []preference.Pair) (*head.Head, error) {
	records, err := prompt.Read(r.path("summarize-train.jsonl"), prompt.ReadOptions{})
	if err != nil {
		return nil, err
	}
	byText := map[string]prompt.Record{}
	for _, p := range records {
		byText[p.Text] = p
	}
	var answers []head.Answer
	var items []reward.Item
	for _, p := range pairs {
		for _, text := range []string{p.Chosen, p.Rejected} {
			record := byText[p.Prompt.Text]
			answers, items = append(answers, head.Answer{Prompt: record, Response: text}), append(items, reward.Item{Prompt: record, Response: text})
		}
	}
	scores, err := reward.Gold{}.Score(ctx, items)
	if err != nil {
		return nil, err
	}
	gold, err := reward.Values(items, scores)
	if err != nil {
		return nil, err
	}
	width := m.Info().Width
	features, err := valuehead.NewFeatures(head.Schema(layers, width), valuehead.FeaturesOf(valuehead.Recall))
	if err != nil {
		return nil, err
	}
	reading := head.Reading{Layers: layers, Pooling: head.Recall}
	reader, err := head.NewReader(m, reading, pairwise.Bare)
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	data := valuehead.NewDataset(features)
	var asked *states.Prompt // of the last answer: those to one prompt share its states
	err = reader.Read(ctx, answers, func(i int, s head.States, err error) error {
		if err != nil {
			return err
		}
		if asked == nil || asked.ID != s.Prompt.ID || len(asked.Tokens) != len(s.Prompt.Tokens) {
			asked = s.Prompt
		}
		return data.AddExample(valuehead.Example{
			Trajectory: &states.Trajectory{Prompt: asked.ID, Sample: i, Tokens: s.Tokens, Hidden: slices.Clone(s.Hidden)}, Prompt: asked, Return: float32(gold[i]),
		})
	})
	if err != nil {
		return nil, err
	}
	reading.Recall, _, err = valuehead.Train(ctx, data, valuehead.TrainOptions{Kind: valuehead.Recall, Seed: r.seed, Workers: r.threads})
	return &head.Head{
		Trunk: head.Trunk{Width: width, Template: pairwise.Bare}, Reading: reading, Layers: []head.Layer{{In: 1, Out: 1, Weight: []float32{1}}},
	}, err
}

// answered is a test prompt with the model's scored answers.
type answered struct {
	prompt prompt.Record
	answers
}

// testAnswers are the model's answers to the test prompts.
func (r recipe) testAnswers(ctx context.Context, m *llama.Model) (out []answered, err error) {
	prompts, err := prompt.Read(r.path("summarize-test.jsonl"), prompt.ReadOptions{})
	if err != nil {
		return nil, err
	}
	e, err := engine.New(m, engine.Params{Sequences: 32})
	if err != nil {
		return nil, err
	}
	defer e.Close()
	drawn, err := sample(ctx, e, prompts, baseTemp, 2*rewardSamples)
	for i, a := range drawn {
		out = append(out, answered{prompts[i], a})
	}
	return out, err
}

// agree scores answers by a head and holds the scores against the gold reward.
func agree(ctx context.Context, m *llama.Model, h *head.Head, drawn []answered) (f agreement, err error) {
	s, err := head.NewScorer(h, m)
	if err != nil {
		return f, err
	}
	defer s.Close()
	var all []head.Answer
	for _, a := range drawn {
		for _, x := range a.responses {
			all = append(all, head.Answer{Prompt: a.prompt, Response: x.text})
		}
	}
	scores, err := s.Score(ctx, all)
	if err != nil {
		return f, err
	}
	var learned, gold []float32
	at := 0
	right := 0.0
	for _, a := range drawn {
		for i, x := range a.responses {
			if err := scores[at+i].Err; err != nil {
				return f, err
			}
			learned, gold = append(learned, float32(scores[at+i].Value)), append(gold, float32(x.reward))
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
	f.Accuracy, f.Spearman = right/float64(f.Clear), valuehead.Spearman(learned, gold)
	return f, nil
}

// writeRewardCard describes the learned reward in Markdown.
func (r recipe) writeRewardCard(f rewardFigures) error {
	return atomicfile.Write(r.path("summarize-reward.md"), func(out io.Writer) error {
		w := &strings.Builder{}
		line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
		line("# %s\n", filepath.Base(r.path("summarize-reward.gguf")))
		line("The lab's learned reward, made by `make lab`: a head on the states of `%s`, from pairs of that model's", rewarded+".gguf")
		line("answers (T=%g) to the training prompts. The gold rule says which is the better one, and of %.0f %% of the pairs the wrong one.\n", baseTemp, 100*labelNoise)
		line("| | |\n|---|---|")
		line("| head | %s |", f.Report.Head.Name)
		line("| pairs | %d, of which %d to learn from; seed %d |", f.Pairs, f.Report.Pairs, r.seed)
		line("| noisy pairs of held-out prompts | %.3f right, 95 %% interval %.3f to %.3f |", f.Report.Accuracy.Mean, f.Report.Accuracy.Lo, f.Report.Accuracy.Hi)
		for _, b := range f.Report.Baselines {
			line("| by %s | %.3f |", b.Name, b.Accuracy.Mean)
		}
		line("| test answers whose gold rewards differ by %g or more | %.3f right of %d pairs |", clearMargin, f.Learned.Accuracy, f.Learned.Clear)
		line("| Spearman with the gold reward | %.3f over %d test answers |", f.Learned.Spearman, f.Learned.Answers)
		line("| both by a value head that was told the gold rewards of the pairs' answers | %.3f, %.3f |\n", f.Gold.Accuracy, f.Gold.Spearman)
		line("| tried | log loss | accuracy |\n|---|---|---|")
		for _, t := range f.Report.Tried {
			line("| %s | %.3f | %.3f |", t.Name, t.LogLoss, t.Accuracy)
		}
		_, err := io.WriteString(out, w.String())
		return err
	})
}
