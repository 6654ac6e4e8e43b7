package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/valuehead"
)

func rewards(methods []method) *chart {
	var y axis
	var points []point
	longest := 0
	for i := range methods {
		m := methods[len(methods)-1-i] // the first on top
		y.names, longest = append(y.names, m.Method), max(longest, len(m.Method))
		points = append(points, point{x: m.Reward, y: exact(float64(i)), class: m.Kind, title: m.Method + ": " + interval(m.Reward)})
	}
	return plot("Mean reward by method", axis{title: "mean reward of an answer"}, y, 68+30*float64(len(methods)), 16+7.5*float64(longest), 10, points, false)
}

// parting shows what guidance gains by the reward and by the second one, as it grows.
func parting(r *progress) *chart {
	var points []point
	for _, m := range r.Methods {
		if m.Second == nil || m.Method != r.Methods[0].Method && !strings.HasPrefix(m.Method, "guided-b") {
			continue
		}
		for _, of := range []struct {
			name, class string
			score       eval.Interval
		}{{"reward", guided, m.Reward}, {r.Second, ranked, *m.Second}} {
			p := point{x: exact(m.KL.Mean), y: of.score, class: of.class, title: fmt.Sprintf("%s of %s: %s at %s nats", of.name, m.Method, interval(of.score), num(m.KL.Mean, 2))}
			if m.Method == r.Methods[0].Method {
				p.label = of.name
			}
			points = append(points, p)
		}
	}
	return plot("Both rewards as guidance grows", axis{title: "KL from the base policy, nats a response"}, axis{title: "mean of an answer"}, 300, 44, 24, points, true)
}

func compute(methods []method) *chart {
	var points []point
	for _, m := range methods {
		// A method that said nothing at all has no place on a log scale.
		if cost := m.DecodedPerEmitted; cost > 0 {
			title := fmt.Sprintf("%s: %s for %s decoded tokens per token", m.Method, interval(m.Reward), num(cost, 1))
			points = append(points, point{x: exact(cost), y: m.Reward, class: m.Kind, title: title, label: m.Method})
		}
	}
	x := axis{title: "tokens decoded per token emitted (log scale)", log: true}
	return plot("Mean reward against compute", x, axis{title: "mean reward of an answer"}, 300, 44, 24, points, false)
}

// curve is a line of values at first, first+1, ...
type curve struct {
	name, class string
	first       int
	values      []float64
}

func curves(title string, x, y axis, cs ...curve) *chart {
	var points []point
	for _, c := range cs {
		for i, v := range c.values {
			p := point{x: exact(float64(c.first + i)), y: exact(v), class: c.class, title: c.name + ": " + num(v, 3)}
			if i == len(c.values)-1 {
				p.label = c.name
			}
			points = append(points, p)
		}
	}
	return plot(title, x, y, 250, 52, 76, points, true)
}

// learning shows the losses by epoch; epoch 0 is the head before training.
func learning(r *valuehead.Report) *chart {
	training, held := curve{name: "training", class: ranked, first: 1}, curve{name: "held out", class: guided, values: []float64{r.Start}}
	for _, e := range r.Epochs {
		training.values, held.values = append(training.values, e.TrainLoss), append(held.values, e.HeldOutLoss)
	}
	return curves("Loss by epoch", axis{title: "epoch"}, axis{title: "loss of a state"}, training, held)
}

// quality shows how well the head predicts, by position in the response.
func quality(r *valuehead.Report) *chart {
	r2, rank := curve{name: "R²", class: ranked}, curve{name: "Spearman", class: guided}
	for _, s := range r.HeldOut.Fifths {
		r2.values, rank.values = append(r2.values, s.R2), append(rank.values, s.Spearman)
	}
	x := axis{title: "fifth of the response", names: []string{"1st", "2nd", "3rd", "4th", "5th"}}
	return curves("Quality of the value by position", x, axis{title: "R² and rank correlation, held-out prompts"}, r2, rank)
}

// reliability shows what followed states of similar value; a calibrated head's points lie
// on the diagonal. Both axes have one scale, so that it is one.
func reliability(bins []valuehead.Bin) *chart {
	var points []point
	for _, b := range bins {
		title := fmt.Sprintf("value %s, return %s: means of %s states", num(b.Value, 3), num(b.Return, 3), count(b.States))
		points = append(points, point{x: exact(b.Value), y: exact(b.Return), class: guided, title: title})
	}
	span := axis{}.over(slices.Concat(points, transposed(points)), func(p point) eval.Interval { return p.x })
	x, y := span, span
	x.title, y.title = "mean value of a bin of states", "mean reward that followed"
	c := plot("Reliability", x, y, 300, 52, 24, points, false)
	c.Lines[alone] = fmt.Sprint(c.X0, ",", c.Y1, " ", c.X1, ",", c.Y0)
	return c
}

// transposed swaps x and y.
func transposed(points []point) (out []point) {
	for _, p := range points {
		p.x, p.y = p.y, p.x
		out = append(out, p)
	}
	return out
}
