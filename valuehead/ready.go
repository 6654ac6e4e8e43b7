package valuehead

import "math/rand/v2"

// ready is the model of [Additive]: its rows hold the value itself.
type ready struct{}

func (ready) tensors() []tensor                       { return nil }
func (ready) init([]float32, *rand.Rand)              {}
func (ready) forward(_ []float32, s *scratch)         { copy(s.out, s.x) }
func (ready) backward([]float32, *scratch, []float32) {}
