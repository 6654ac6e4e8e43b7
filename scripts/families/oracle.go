package main

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/ivo-decoding/ivo/llama"
)

// row is what a model says after the last of some tokens.
type row struct{ logits, states []float32 }

// oracle decodes a text alone: one sequence, all of its tokens, in a context that holds nothing else.
type oracle struct {
	m      *llama.Model
	layers []int
	mu     sync.Mutex
	known  map[string]row
}

// exact are parameters under which results do not depend on the batch but for rounding.
func exact(p llama.ContextParams) llama.ContextParams {
	p.Threads, p.Flash, p.CacheK, p.CacheV = 1, llama.FlashOff, llama.CacheF32, llama.CacheF32
	return p
}

// after is what the model says after the tokens, in a fresh context. temp is that of LSET.
func after(m *llama.Model, layers []int, tokens []int32, temp float32, use func(llama.Row) error) (err error) {
	c, err := m.NewContext(exact(llama.ContextParams{Ctx: max(256, len(tokens)), Layers: layers, Top: 64}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r := -1
	for i, token := range tokens {
		if r, err = c.Add(token, int32(i), 0, i == len(tokens)-1, temp); err != nil {
			return err
		}
	}
	if err := c.Decode(); err != nil {
		return err
	}
	got, err := c.Row(r)
	if err != nil {
		return err
	}
	return use(got)
}

// row is after, remembered.
func (o *oracle) row(tokens []int32) (row, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := fmt.Sprint(tokens)
	if r, ok := o.known[key]; ok {
		return r, nil
	}
	var r row
	err := after(o.m, o.layers, tokens, 1, func(got llama.Row) error {
		r = row{slices.Clone(got.Logits), slices.Clone(got.States)}
		return nil
	})
	if o.known == nil {
		o.known = map[string]row{}
	}
	o.known[key] = r
	return r, err
}

// rows are what the model says after each of the tokens, decoded one by one.
func rows(m *llama.Model, layers []int, tokens []int32) (out []row, err error) {
	c, err := m.NewContext(exact(llama.ContextParams{Ctx: max(256, len(tokens)), Layers: layers, FullWindow: true}))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for i, token := range tokens {
		if _, err := c.Add(token, int32(i), 0, true, 1); err != nil {
			return nil, err
		}
		if err := c.Decode(); err != nil {
			return nil, err
		}
		r, err := c.Row(0)
		if err != nil {
			return nil, err
		}
		out = append(out, row{slices.Clone(r.Logits), slices.Clone(r.States)})
	}
	return out, nil
}

// errDiffers is a result that separate decoding does not give: never right, whatever is refused.
var errDiffers = errors.New("separate decoding gives something else")

// compare wants two rows of numbers to be equal but for rounding.
func compare(what string, got, want []float32) error {
	if len(got) != len(want) {
		return fmt.Errorf("%w: %s: %d numbers, want %d", errDiffers, what, len(got), len(want))
	}
	off, size := 0.0, 1.0
	for i := range want {
		off = max(off, math.Abs(float64(got[i])-float64(want[i])))
		size = max(size, math.Abs(float64(want[i])))
	}
	if !(off <= 2e-4*size) {
		return fmt.Errorf("%w: %s is off by %.2g of %.2g", errDiffers, what, off, size)
	}
	return nil
}

func (want row) compare(what string, logits, states []float32) error {
	if err := compare(what+": logits", logits, want.logits); err != nil {
		return err
	}
	return compare(what+": states", states, want.states)
}
