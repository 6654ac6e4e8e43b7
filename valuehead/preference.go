package valuehead

import (
	"context"
	"fmt"
	"math"
)

// Preference is the target of heads that learn from pairs: with R the value of a whole response,
// at its last state, the model of Bradley and Terry,
//
//	P(y+ > y- | x) = sigma(R(x, y+) - R(x, y-))
//
// by the loss -log sigma(R(x, y+) - R(x, y-) - margin) of a pair (arXiv 2203.02155, 2307.09288).
// R is known but for a constant. The examples have a Rival. See [TrainPreferences].
const Preference Target = "preference"

// rival is the other side of a pair as an example of its own.
func (e Example) rival() Example { return Example{Trajectory: e.Rival, Prompt: e.Prompt} }

// states is the number of states that are learned from.
func (e Example) states() int {
	n := len(e.Trajectory.Tokens)
	if e.Rival != nil {
		n += len(e.Rival.Tokens)
	}
	return n
}

// sides are those of pairs, the preferred one first.
func sides(pairs []Example) []Example {
	out := make([]Example, 0, 2*len(pairs))
	for _, e := range pairs {
		out = append(out, e, e.rival())
	}
	return out
}

// preferences is the loss of the pairs whose sides are in s, with its gradient times weight in s.dout.
func (s *scratch) preferences(pairs []Example, noise float64, weight float32) (loss float64) {
	clear(s.dout)
	for i, e := range pairs {
		won, lost := s.starts[2*i+1]-1, s.starts[2*i+2]-1
		one, slope := Surprise(float64(s.out[won]-s.out[lost])-float64(e.Margin), noise)
		loss += one
		s.dout[won], s.dout[lost] = weight*float32(slope), -weight*float32(slope)
	}
	return loss
}

// Surprise is the loss of a pair whose rewards differ by d, less its margin, and its derivative:
// -log((1-noise) sigma(d) + noise sigma(-d)), noise being the share of pairs whose sides are known to be
// swapped (forward correction, arXiv 1609.03683). With noise a pair that is surely wrong teaches nothing.
func Surprise(d, noise float64) (loss, slope float64) {
	if noise == 0 {
		return math.Max(-d, 0) + math.Log1p(math.Exp(-math.Abs(d))), -1 / (1 + math.Exp(d))
	}
	s := 1 / (1 + math.Exp(-d))
	p := (1-2*noise)*s + noise
	return -math.Log(p), -(1 - 2*noise) * s * (1 - s) / p
}

// TrainPreferences fits a head to all pairs of a source, for as many epochs as the options say. after
// is told of the head after each epoch, and ends training where it says so; the head is then as it
// is, and knows nothing of how good it is. The options' target is [Preference], the head gives no
// distribution and nothing stands beside it. The same data, options and seed give the same head.
func TrainPreferences(ctx context.Context, src Source, options TrainOptions, after func(h *Head, epoch int) (stop bool, err error)) (*Head, error) {
	options.Target = Preference
	o, err := options.resolve()
	if err != nil {
		return nil, err
	}
	all, vocabulary, err := survey(ctx, src)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("valuehead: no pairs to learn from (bring some)")
	}
	if o.Shape.Embedding > 0 {
		o.Shape.Vocabulary = min(vocabulary, maxVocabulary)
	}
	h, err := begin(src, all, o)
	if err != nil {
		return nil, err
	}
	h.probe = nil
	if r, ok := h.model.(*recallNet); ok {
		r.forgetPrompt(h.params)
	}
	t := newTrainer(h, src, all, o)
	p := t.progress()
	for epoch := range o.Epochs {
		if err := t.epoch(ctx, epoch, &p); err != nil {
			return nil, err
		}
		h.summary = Summary{Trajectories: 2 * len(all), Prompts: prompts(all), States: tokens(all), Epochs: epoch + 1, Seed: o.Seed}
		if stop, err := after(h, epoch+1); stop || err != nil {
			return h, err
		}
	}
	return h, nil
}

// forgetPrompt makes an empty response worth the same after every prompt: both sides of a pair begin with
// it, so that pairs would leave it as random as it is.
func (m *recallNet) forgetPrompt(params []float32) {
	p := parts(m, params)
	clear(p[m.start])
	if m.promptRow > 0 {
		clear(p[m.start+1])
	}
}

// Worth is the value of a whole response, at its last state.
func (h *Head) Worth(e Example) (float32, error) {
	e.Rival = nil
	if len(e.Trajectory.Tokens) == 0 {
		return 0, fmt.Errorf("valuehead: prompt %q: an empty response (give it a token)", e.Trajectory.Prompt)
	}
	if err := checkExample(h.features, e); err != nil {
		return 0, err
	}
	s := h.scratch.Get().(*scratch)
	defer h.scratch.Put(s)
	s.rng = nil
	if err := h.load(s, h.features.NewAccumulator(), []Example{e}); err != nil {
		return 0, err
	}
	h.forward(s)
	k := h.shape.outputs()
	return h.value(s.out[(s.n-1)*k:s.n*k], Reading{}), nil
}
