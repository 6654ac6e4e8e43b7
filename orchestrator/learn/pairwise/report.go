package pairwise

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// Report says how well a head predicts preferences that it was not trained on.
type Report struct {
	Pairs   int `json:"pairs"`    // trained on
	HeldOut int `json:"held_out"` // measured on
	Prompts int `json:"held_out_prompts"`
	TooLong int `json:"too_long"` // left out of both

	Head     Trial         `json:"head"`
	Tried    []Trial       `json:"tried"`
	Accuracy eval.Interval `json:"accuracy"` // a tie counts a half; intervals are 95 % over prompts
	LogLoss  float64       `json:"log_loss"`
	// ECE is the mean over bins, by their pairs, of |Confidence - Accuracy| (arXiv 1706.04599).
	ECE         float64    `json:"ece"`
	Reliability []Bin      `json:"reliability"`
	Baselines   []Baseline `json:"baselines"`
}

// Bin is pairs of which the head is about as sure.
type Bin struct {
	Pairs      int     `json:"pairs"`
	Confidence float64 `json:"confidence"` // mean of max(p, 1-p)
	Accuracy   float64 `json:"accuracy"`
}

// Baseline is what one number of an answer says of preferences, its sign learned from the training
// pairs.
type Baseline struct {
	Name     string        `json:"name"`
	Accuracy eval.Interval `json:"accuracy"`
	// Ahead is the head's accuracy less the baseline's, on the same pairs.
	Ahead eval.Interval `json:"ahead"`
}

// measure scores the pairs that are held out. It brings the mean reward of the training pairs to 0.
func (r *trainer) measure(ctx context.Context, h *head.Head) (*Report, error) {
	layers := make([]int, len(h.Reading.Layers))
	for i, l := range h.Reading.Layers {
		layers[i] = slices.Index(r.data.layers, l)
	}
	var rewards [2][]float64
	for side := range rewards {
		rewards[side] = make([]float64, len(r.data.Pairs))
	}
	err := r.data.each(ctx, layers, h.Reading.LooksBack(), func(pair, side int, s head.States) (err error) {
		rewards[side][pair], err = h.Reward(s)
		return err
	})
	if err != nil {
		return nil, err
	}
	mean := 0.0
	for _, i := range r.train {
		mean += (rewards[chosen][i] + rewards[rejected][i]) / float64(2*len(r.train))
	}
	h.Layers[len(h.Layers)-1].Bias[0] -= float32(mean)
	return r.report(ctx, rewards)
}

// report is what the rewards of the held-out pairs' sides say.
func (r *trainer) report(ctx context.Context, rewards [2][]float64) (_ *Report, err error) {
	report := &Report{Pairs: len(r.train), HeldOut: len(r.held), TooLong: r.data.Left}
	difference := func(i int) float64 { return rewards[chosen][i] - rewards[rejected][i] }
	var differences []float64
	for _, i := range r.held {
		differences = append(differences, difference(i))
	}
	own := r.perPrompt(difference)
	report.Prompts = len(own)
	report.Accuracy = eval.Bootstrap(own, r.Seed)
	report.LogLoss, _ = judged(differences, r.Noise)
	report.Reliability, report.ECE = reliability(differences, r.Noise)
	for _, b := range []struct {
		name string
		of   func(pair, side int) float64
	}{
		{"length alone", func(pair, side int) float64 { return float64(r.tokens[side][pair]) }},
		{"sentiment alone", nil},
	} {
		if b.of == nil {
			if b.of, err = r.sentiment(ctx); err != nil {
				return nil, err
			}
		}
		sign := 0.0
		for _, i := range r.train {
			sign += 2*right(b.of(i, chosen)-b.of(i, rejected)) - 1
		}
		says := r.perPrompt(func(i int) float64 {
			return math.Copysign(1, sign) * (b.of(i, chosen) - b.of(i, rejected))
		})
		report.Baselines = append(report.Baselines, Baseline{b.name, eval.Bootstrap(says, r.Seed), eval.Paired(own, says, r.Seed)})
	}
	return report, nil
}

// perPrompt is the share of each held-out prompt's pairs that differences of rewards predict.
func (r *trainer) perPrompt(difference func(pair int) float64) []float64 {
	var order []string
	sum, count := map[string]float64{}, map[string]float64{}
	for _, i := range r.held {
		g := r.data.Pairs[i].Group()
		if count[g] == 0 {
			order = append(order, g)
		}
		count[g]++
		sum[g] += right(difference(i))
	}
	out := make([]float64, len(order))
	for i, g := range order {
		out[i] = sum[g] / count[g]
	}
	return out
}

// sentiment is what VADER says of each side.
func (r *trainer) sentiment(ctx context.Context) (func(pair, side int) float64, error) {
	m, err := reward.Open("sentiment", reward.Options{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	var items []reward.Item
	for _, p := range r.data.Pairs {
		items = append(items, reward.Item{Prompt: p.Prompt, Response: p.Chosen}, reward.Item{Prompt: p.Prompt, Response: p.Rejected})
	}
	scores, err := m.Score(ctx, items)
	if err != nil {
		return nil, err
	}
	values, err := reward.Values(items, scores)
	return func(pair, side int) float64 { return values[2*pair+side] }, err
}

// reliability sorts pairs into ten bins by how sure the head is of which side was chosen.
func reliability(differences []float64, noise float64) (bins []Bin, ece float64) {
	const n = 10
	all := make([]Bin, n)
	for _, d := range differences {
		confidence := noise + (1-2*noise)*sigma(math.Abs(d))
		b := &all[min(n-1, int((confidence-0.5)*2*n))]
		b.Pairs++
		b.Confidence += confidence
		b.Accuracy += right(d)
	}
	for _, b := range all {
		if b.Pairs == 0 {
			continue
		}
		b.Confidence /= float64(b.Pairs)
		b.Accuracy /= float64(b.Pairs)
		ece += math.Abs(b.Confidence-b.Accuracy) * float64(b.Pairs) / float64(len(differences))
		bins = append(bins, b)
	}
	return bins, ece
}

// Write writes the report for people.
func (r *Report) Write(w io.Writer) error {
	s := sheet.Sheet{
		{"head", r.Head.Name},
		{"pairs", fmt.Sprintf("%d to learn from, %d of %d prompts held out", r.Pairs, r.HeldOut, r.Prompts)},
		{"accuracy", interval(r.Accuracy) + fmt.Sprintf(", log loss %.3f (a coin %.3f)", r.LogLoss, math.Ln2)},
	}
	for _, b := range r.Baselines {
		s = append(s, sheet.Property{b.Name, interval(b.Accuracy) + ", the head ahead by " + interval(b.Ahead)})
	}
	s = append(s, sheet.Property{"calibration", fmt.Sprintf("expected error %.3f", r.ECE)})
	for _, b := range r.Reliability {
		s = append(s, sheet.Property{"", fmt.Sprintf("sure at %.2f, right %.2f of %d pairs", b.Confidence, b.Accuracy, b.Pairs)})
	}
	for i, t := range r.Tried {
		name := ""
		if i == 0 {
			name = "tried"
		}
		s = append(s, sheet.Property{name, fmt.Sprintf("%-40s log loss %.3f, accuracy %.3f", t.Name, t.LogLoss, t.Accuracy)})
	}
	return s.Write(w)
}

func interval(i eval.Interval) string { return fmt.Sprintf("%.3f [%.3f, %.3f]", i.Mean, i.Lo, i.Hi) }
