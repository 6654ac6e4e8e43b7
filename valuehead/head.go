package valuehead

import (
	"fmt"
	"sync"
)

// Head is a trained value function. It is read-only and safe for concurrent use.
type Head struct {
	kind     Kind
	hidden   int // units of the MLP's hidden layer, else 0
	features *Features
	// A column of a row is standardised as (x - mean) * inverse, the inverse of its
	// standard deviation; a value is rewardMean + rewardScale * the model's output.
	mean, inverse           []float32
	rewardMean, rewardScale float32
	model                   model
	params                  []float32
	summary                 Summary
	scratch                 sync.Pool
}

// Summary says what a head was trained on and how well it did on held-out prompts.
type Summary struct {
	Trajectories int // all counts are of the training part
	Prompts      int
	States       int
	HeldOut      int // prompts held out
	Epochs       int // until the best held-out loss
	Seed         uint64
	WarmStart    bool    // training began from an earlier head
	R2           float64 // on held-out prompts, all states
	R2Last       float64 // on held-out prompts, last state of each response
	Spearman     float64 // on held-out prompts, all states
}

func newHead(kind Kind, hidden int, features *Features) (*Head, error) {
	if kind == Linear {
		hidden = 0
	}
	m, err := newModel(kind, features.width, hidden)
	if err != nil {
		return nil, err
	}
	h := &Head{kind: kind, hidden: hidden, features: features, model: m, params: make([]float32, count(m))}
	h.scratch.New = func() any { return newScratch(features.width, hidden) }
	return h, nil
}

// Kind is the shape of the head.
func (h *Head) Kind() Kind { return h.kind }

// Features lays out the rows that Predict takes.
func (h *Head) Features() *Features { return h.features }

// Parameters is the number of trained parameters.
func (h *Head) Parameters() int { return len(h.params) }

// Summary says how the head was trained.
func (h *Head) Summary() Summary { return h.summary }

// Reward is the mean and the standard deviation of the rewards of training.
func (h *Head) Reward() (mean, scale float32) { return h.rewardMean, h.rewardScale }

// Backbone is the fingerprint of the model whose states the head was trained on.
func (h *Head) Backbone() string { return h.features.schema.Backbone }

// CheckBackbone returns an error unless fingerprint is that of the head's own model.
func (h *Head) CheckBackbone(fingerprint string) error {
	if own := h.Backbone(); own != fingerprint {
		return fmt.Errorf("valuehead: the head was trained on the states of model %s, this model is %s (use the model it was trained with, or train a head for this one with ivo iterate)", own, fingerprint)
	}
	return nil
}

// Predict writes the values of n states, in units of reward, to out. rows is
// [n][Features.Width] as [Accumulator.AppendRow] gives them.
func (h *Head) Predict(rows []float32, n int, out []float32) error {
	w := h.features.width
	if n < 0 || len(rows) < n*w || len(out) < n {
		return fmt.Errorf("valuehead: %d floats are no %d rows of %d, or %d values do not hold them (make the rows with the head's own features)", len(rows), n, w, len(out))
	}
	s := h.scratch.Get().(*scratch)
	defer h.scratch.Put(s)
	for from := 0; from < n; from += sliceRows {
		part := min(sliceRows, n-from)
		for i := range part {
			at := (from + i) * w
			h.standardise(s.x[i*w:], rows[at:at+w])
		}
		h.model.forward(h.params, s, part)
		for i, v := range s.out[:part] {
			out[from+i] = h.rewardMean + h.rewardScale*v
		}
	}
	return nil
}

func (h *Head) standardise(dst, row []float32) {
	mean, inverse := h.mean[:len(row)], h.inverse[:len(row)]
	dst = dst[:len(row)]
	for j, v := range row {
		dst[j] = (v - mean[j]) * inverse[j]
	}
}
