package value

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/fingerprint"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/valuehead"
)

// acquaintance is what a head has found out about models. It may be asked by several goroutines.
type acquaintance struct {
	head *valuehead.Head
	mu   sync.Mutex
	of   *llama.Model // the last one
	err  error        // what it found
}

// knows returns nil of a model whose states the head can read.
func (a *acquaintance) knows(m *llama.Model) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.of != m {
		a.of, a.err = m, recognize(a.head, m)
	}
	return a.err
}

// recognize returns nil of the model that a head was trained on the states of, and of another
// quantization of it, which it says. Two things tell that: what no quantization changes
// is the same, and the states of a text are nearly those that the head has seen. Fine-tuning that
// moves all weights fails the first; one by adapters passes it, and the second as long as
// it is so slight that the head's values stay what they are.
func recognize(h *valuehead.Head, m *llama.Model) error {
	model, err := m.Fingerprint()
	if err != nil {
		return err
	}
	stranger := h.CheckBackbone(model)
	probe := h.Probe()
	if stranger == nil || probe == nil || !fits(h, m) || !sameAdapters(h.Backbone(), model) {
		return stranger
	}
	norms, err := llama.Norms(m.Metadata())
	if err != nil {
		return err
	}
	if own := h.Features().Schema().Norms; own != norms && own != "" && norms != "" {
		return fault.New("", "value_head", nil, hintStranger, "the head was trained on the states of another model than %s, which is none of its quantizations: what they leave as it is differs, as after fine-tuning", m.Path())
	}
	states, err := statesOf(m, h.Features().Schema().Layers, probe)
	if err != nil {
		return fmt.Errorf("compare %s with the model that the head was trained with: %w", m.Path(), err)
	}
	alike, err := h.Likeness(states)
	if err != nil {
		return err
	}
	if !(alike >= valuehead.LeastLikeness) {
		return fault.New("", "value_head", valuehead.LeastLikeness, hintStranger, "the head was trained on the states of another model than %s: theirs agree to %.3f, those of quantizations of one model to %v or more", m.Path(), alike, valuehead.LeastLikeness)
	}
	slog.Warn("the value head was trained with another quantization of this model; the less their states agree, the less its values say", "states agree to", fmt.Sprintf("%.3f", alike), "model", m.Path())
	return nil
}

// sameAdapters says whether two models have the same ones, whatever their weights.
func sameAdapters(a, b string) bool {
	_, x := fingerprint.Split(a)
	_, y := fingerprint.Split(b)
	return x == y
}

const hintStranger = "use the model it was trained with, or train a head for this one"

// fits says whether a model of other weights has the shape of the head's.
func fits(h *valuehead.Head, m *llama.Model) bool {
	s, info := h.Features().Schema(), m.Info()
	tokens := h.Probe().Tokens
	return s.Width == len(s.Layers)*info.Width && (len(s.Layers) == 0 || slices.Max(s.Layers) <= info.Layers) && int(slices.Max(tokens)) < info.Vocab && slices.Min(tokens) >= 0
}

// statesOf decodes a probe with a context of its own.
func statesOf(m *llama.Model, layers []int, p *valuehead.Probe) (states []float32, err error) {
	n := len(p.Tokens)
	c, err := m.NewContext(llama.ContextParams{Ctx: n, Batch: n, Threads: engine.Threads(m), Layers: layers})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var rows []int
	for i, token := range p.Tokens {
		row, err := c.Add(token, int32(i), 0, i >= p.From, 0)
		if err != nil {
			return nil, err
		}
		if i >= p.From {
			rows = append(rows, row)
		}
	}
	if err := c.Decode(); err != nil {
		return nil, err
	}
	for _, i := range rows {
		row, err := c.Row(i)
		if err != nil {
			return nil, err
		}
		states = append(states, row.States...)
	}
	return states, nil
}
