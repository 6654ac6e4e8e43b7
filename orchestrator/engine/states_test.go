package engine_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// The states of a prompt are those that feeding it token by token gives, for layers that
// come without logits and for those that do not, for several prompts at once and for one
// that takes several batches; and what follows the prompt is the same.
func TestPrefillStates(t *testing.T) {
	for _, layers := range [][]int{{0, 3}, {3, 4}, {5, 1}} {
		p := exact
		p.Ctx, p.Batch, p.Sequences, p.Layers = 512, 16, 8, layers
		e := open(t, p)
		var jobs []engine.Job
		for _, text := range append([]string{strings.Repeat("i found a map. ", 6)}, prompts...) { // the first is longer than a batch
			prompt := tokenize(t, e, text)
			jobs = append(jobs, engine.Job{Sequences: 2, Cells: 2*len(prompt) + 2, Run: func(s *engine.Session) error {
				q, states, err := s.PrefillStates(prompt, 1)
				if err != nil {
					return err
				}
				logits := slices.Clone(q.Row().Logits)

				one, err := s.Prefill(prompt[:1], 1)
				if err != nil {
					return err
				}
				var want []float32
				for i := range prompt {
					want = append(want, one.Row().States...)
					if i+1 < len(prompt) {
						if err := s.Step([]*engine.Seq{one}, prompt[i+1:i+2]); err != nil {
							return err
						}
					}
				}
				if len(states) != len(want) || furthest(states, want) > 1e-4 {
					t.Errorf("layers %v: %d states, want %d, off by %g", layers, len(states), len(want), furthest(states, want))
				}
				if d := furthest(logits, one.Row().Logits); d > 1e-3 {
					t.Errorf("layers %v: the logits after the prompt are off by %g", layers, d)
				}
				return nil
			}})
		}
		if err := e.Run(t.Context(), jobs); err != nil {
			t.Fatal(err)
		}
	}
	e := open(t, exact)
	err := e.Run(t.Context(), []engine.Job{{Sequences: 1, Cells: 8, Run: func(s *engine.Session) error {
		_, _, err := s.PrefillStates([]int32{1, 2}, 1)
		return err
	}}})
	if err == nil || !strings.Contains(err.Error(), "taps no layers") {
		t.Errorf("states of no layers: %v", err)
	}
}

// furthest is the largest difference between two slices of one length.
func furthest(a, b []float32) float64 {
	d := 0.0
	for i := range min(len(a), len(b)) {
		d = max(d, math.Abs(float64(a[i]-b[i])))
	}
	return d
}
