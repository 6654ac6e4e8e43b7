package junk

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Beside is how far the scores of the same answers are moved where another reward stands in for the
// first: another quantization of its model, say.
type Beside struct {
	Reward   string  `json:"reward"`
	Answers  int     `json:"answers"`    // that both score
	Shift    float64 `json:"shift"`      // mean of the differences
	Moved    float64 `json:"moved"`      // mean of their sizes
	Most     float64 `json:"most"`       // the greatest
	SD       float64 `json:"sd"`         // standard deviation of the first reward's scores
	Spearman float64 `json:"spearman"`   // rank correlation over all answers; 0 where one side knows no differences
	Pairs    int     `json:"pairs"`      // of answers to one prompt that the first tells apart
	Flipped  int     `json:"flipped"`    // of these are ranked the other way
	Choices  int     `json:"choices"`    // prompts with several answers
	Others   int     `json:"other_best"` // at so many of these another answer is the best
}

// Compare scores the answers by a reward and by others that are to stand in for it.
func Compare(ctx context.Context, first reward.Model, others []reward.Model, prompts []Answered) ([]Beside, error) {
	var items []reward.Item
	for _, p := range prompts {
		for _, a := range p.Answers {
			items = append(items, reward.Item{Prompt: p.Prompt, Response: a.Text, Finish: a.Finish})
		}
	}
	want, err := first.Score(ctx, items)
	if err != nil {
		return nil, err
	}
	var out []Beside
	for _, m := range others {
		got, err := m.Score(ctx, items)
		if err != nil {
			return nil, err
		}
		if len(got) != len(want) {
			return nil, fmt.Errorf("compare rewards: %d and %d scores of the same answers (mend the reward)", len(want), len(got))
		}
		out = append(out, beside(m.Info().Name, want, got, prompts))
	}
	return out, nil
}

// beside compares the scores of all prompts' answers, one prompt's behind the other's.
func beside(name string, want, got []reward.Score, prompts []Answered) Beside {
	b := Beside{Reward: name}
	var x, y []float64
	at := 0
	for _, p := range prompts {
		from := len(x)
		for range p.Answers {
			if want[at].Err == nil && got[at].Err == nil {
				x, y = append(x, want[at].Value), append(y, got[at].Value)
			}
			at++
		}
		b.pairs(x[from:], y[from:])
	}
	b.Answers = len(x)
	for i := range x {
		d := y[i] - x[i]
		b.Shift += d / float64(len(x))
		b.Moved += math.Abs(d) / float64(len(x))
		b.Most = max(b.Most, math.Abs(d))
	}
	b.SD, b.Spearman = deviation(x), valuehead.Spearman(narrow(x), narrow(y))
	return b
}

// pairs counts what is ranked otherwise among the answers to one prompt.
func (b *Beside) pairs(x, y []float64) {
	if len(x) < 2 {
		return
	}
	b.Choices++
	first, second := 0, 0
	for i := range x {
		if x[i] > x[first] {
			first = i
		}
		if y[i] > y[second] {
			second = i
		}
		for k := range i {
			if x[i] == x[k] {
				continue
			}
			if b.Pairs++; (x[i] > x[k]) != (y[i] > y[k]) {
				b.Flipped++
			}
		}
	}
	if y[second] > y[first] {
		b.Others++
	}
}

// deviation is the standard deviation of samples, 0 of fewer than two.
func deviation(x []float64) float64 {
	mean, squares := 0.0, 0.0
	for _, v := range x {
		mean += v / float64(len(x))
	}
	for _, v := range x {
		squares += (v - mean) * (v - mean)
	}
	return math.Sqrt(squares / float64(max(1, len(x)-1)))
}

func narrow(x []float64) []float32 {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out
}

// writeBeside prints comparisons for people.
func writeBeside(w io.Writer, first string, all []Beside) error {
	for _, b := range all {
		_, err := fmt.Fprintf(w, "\n%s beside %s: of %d answers scores move by %.3g on average (%+.3g with its sign, %.3g at most), where their standard deviation is %.3g; "+
			"Spearman %.3f; %d of %d pairs of answers to a prompt are ranked the other way, at %d of %d prompts another answer is the best\n",
			terminal.Visible(b.Reward), terminal.Visible(first), b.Answers, b.Moved, b.Shift, b.Most, b.SD, b.Spearman, b.Flipped, b.Pairs, b.Others, b.Choices)
		if err != nil {
			return err
		}
	}
	return nil
}
