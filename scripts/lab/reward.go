package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
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

// learned is a reward that is learned from a policy's answers to a task.
type learned struct {
	policy, task string       // on whose states it is, and of what
	kind         string       // of its head
	pooling      head.Pooling // of a linear one
}

// rewards are the lab's learned rewards. Whether a thing is on a list is told by the conversation's last words of it, which
// heads that look for the longest match do not find (docs/log.md).
var rewards = []learned{
	{policy: "summarize-s", task: "summarize", kind: pairwise.Recall},
	{policy: "lab-m", task: "dialogue", kind: pairwise.Linear, pooling: head.Mentions},
}

func (x learned) file(ext string) string { return x.task + "-reward" + ext }

const (
	rewardSamples = 4   // answers to a training prompt at T=0.7: two pairs
	labelNoise    = 0.1 // of the pairs have the worse side as the chosen one
	clearMargin   = 2.0 // of gold reward, from which on two test answers differ clearly
)

// rewardFigures say how well the learned reward knows the gold one, on the test prompts.
type rewardFigures struct {
	Pairs   int // that were learned from
	Report  *pairwise.Report
	Learned agreement
	Gold    agreement // of a value head that looks back and was told the gold rewards; zero of rewards of another kind
}

// agreement is that of scores with the gold reward on answers to the test prompts.
type agreement struct {
	Answers            int
	Clear              int     // pairs of answers to one prompt that differ clearly
	Accuracy, Spearman float64 // of those pairs, and of all answers
}

// learnRewards makes those of a policy, or of all with none.
func (r recipe) learnRewards(ctx context.Context, policy string) error {
	for _, x := range rewards {
		if policy != "" && x.policy != policy {
			continue
		}
		if err := r.learnReward(ctx, x); err != nil {
			return err
		}
	}
	return nil
}

// learnReward makes a learned reward: a head on the model's own states from pairs of its answers,
// labelled by the gold rule with noise.
func (r recipe) learnReward(ctx context.Context, x learned) error {
	m, err := llama.Load(r.path(x.policy+".gguf"), llama.ModelParams{})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := os.MkdirAll(r.work, 0o755); err != nil {
		return err
	}
	path := filepath.Join(r.work, x.task+"-pairs.jsonl")
	pairs, _, err := preference.Read(path, preference.Options{})
	if err != nil {
		say("draw %d answers to each of %d prompts", rewardSamples, r.prompts[world.Train])
		if pairs, err = r.labelledPairs(ctx, m, x.task); err != nil {
			return err
		}
		if err := preference.Write(path, pairs); err != nil {
			return err
		}
	}
	trunk := pairwise.Trunk{Model: m, Template: pairwise.Bare, Layers: []int{0, m.Info().Layers * 3 / 5}, Prompts: true}
	say("states of %d pairs", len(pairs))
	data, err := trunk.Collect(ctx, filepath.Join(r.work, x.task+"-states"), pairs, nil)
	if err != nil {
		return err
	}
	f := rewardFigures{Pairs: len(pairs)}
	var h *head.Head
	h, f.Report, err = trunk.Train(ctx, data, pairwise.Options{
		Kind: x.kind, Pooling: x.pooling, Seed: r.seed, HeldOut: 0.05, Noise: labelNoise, Epochs: r.rewardEpochs, Workers: r.threads,
		Progress: func(done, of int, t pairwise.Trial) {
			say("head %d of %d: %s: log loss %.3f, accuracy %.3f", done, of, t.Name, t.LogLoss, t.Accuracy)
		},
	})
	if err != nil {
		return err
	}
	if err := h.Save(r.path(x.file(".gguf"))); err != nil {
		return err
	}
	drawn, err := r.testAnswers(ctx, m, x.task)
	if err != nil {
		return err
	}
	measure := func(name string, h *head.Head) (a agreement, err error) {
		if a, err = agree(ctx, m, h, drawn); err == nil {
			say("%s: %.3f right of %d pairs of test answers that differ by %g or more; Spearman with gold %.3f", name, a.Accuracy, a.Clear, clearMargin, a.Spearman)
		}
		return a, err
	}
	if f.Learned, err = measure("the learned reward", h); err != nil {
		return err
	}
	if x.kind == pairwise.Recall {
		say("a value head of the gold rewards of the same answers")
		told, err := r.goldHead(ctx, m, x.task, trunk.Layers, pairs)
		if err != nil {
			return err
		}
		if f.Gold, err = measure("the value head", told); err != nil {
			return err
		}
	}
	return r.writeRewardCard(x, f)
}

// labelledPairs are pairs of answers that differ in gold reward, two of each prompt.
func (r recipe) labelledPairs(ctx context.Context, m *llama.Model, task string) (pairs []preference.Pair, err error) {
	prompts, err := prompt.Read(r.path(task+"-train.jsonl"), prompt.ReadOptions{})
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
func (r recipe) goldHead(ctx context.Context, m *llama.Model, task string, layers []int, pairs []preference.Pair) (*head.Head, error) {
	records, err := prompt.Read(r.path(task+"-train.jsonl"), prompt.ReadOptions{})
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
func (r recipe) testAnswers(ctx context.Context, m *llama.Model, task string) (out []answered, err error) {
	prompts, err := prompt.Read(r.path(task+"-test.jsonl"), prompt.ReadOptions{})
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

// writeRewardCard describes a learned reward in Markdown.
func (r recipe) writeRewardCard(x learned, f rewardFigures) error {
	return atomicfile.Write(r.path(x.file(".md")), func(out io.Writer) error {
		w := &strings.Builder{}
		line := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
		line("# %s\n", x.file(".gguf"))
		line("A learned reward of the lab, made by `make lab`: a head on the states of `%s`, from pairs of that model's", x.policy+".gguf")
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
		if f.Gold.Answers > 0 {
			line("| both by a value head that was told the gold rewards of the pairs' answers | %.3f, %.3f |", f.Gold.Accuracy, f.Gold.Spearman)
		}
		line("\n| tried | log loss | accuracy |\n|---|---|---|")
		for _, t := range f.Report.Tried {
			line("| %s | %.3f | %.3f |", t.Name, t.LogLoss, t.Accuracy)
		}
		_, err := io.WriteString(out, w.String())
		return err
	})
}
