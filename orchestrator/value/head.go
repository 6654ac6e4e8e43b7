package value

import (
	"cmp"
	"context"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/blas"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/think"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Heads are linked with the fast matrix product wherever they guide decoding.
func init() {
	valuehead.Use(blas.Gemm)
	valuehead.UseExp(blas.Exp)
}

// Head values by a head that was trained on the policy's own states. The engine must
// tap the head's layers, in the same order. It is nil where head is.
func Head(head *valuehead.Head, reading valuehead.Reading) Source {
	if head == nil {
		return nil
	}
	return newHeadSource(head, reading)
}

type headSource struct {
	head    *valuehead.Head
	reading valuehead.Reading
	*acquaintance
}

func newHeadSource(head *valuehead.Head, reading valuehead.Reading) *headSource {
	return &headSource{head, reading, &acquaintance{head: head}}
}

func (h *headSource) Check(e *engine.Engine) error {
	schema, tapped := h.head.Features().Schema(), e.Params().Layers
	switch {
	case !slices.Equal(schema.Layers, tapped):
		return fault.New("", "layers", schema.Layers, "open the engine with the head's layers", "the head reads layers %v, the engine taps %v", schema.Layers, tapped)
	case h.NeedsPrompt() && !slices.Equal(schema.PromptLayers, tapped):
		return errPromptLayers(schema)
	case !slices.Equal(schema.Scalars, ScalarsOf(len(schema.Scalars) > len(Scalars))):
		return errScalars(schema)
	}
	if err := checkTop(schema, e); err != nil {
		return err
	}
	if err := h.knows(e.Model()); err != nil {
		return err
	}
	return h.head.CheckReading(h.reading)
}

func errScalars(schema states.Schema) error {
	return fault.New("", "value_head", Scalars, "train a head with this version", "the head reads the token features %q, this ivo makes %q", schema.Scalars, Scalars)
}

func errPromptLayers(schema states.Schema) error {
	return fault.New("", "value_head", schema.Layers, "train a head with this version", "the head reads layers %v of the prompt and %v of the response", schema.PromptLayers, schema.Layers)
}

// checkTop finds that ranks are counted among another number of likeliest tokens than they
// were where the head learned.
func checkTop(schema states.Schema, e *engine.Engine) error {
	had, top := topOf(schema, e.Model()), e.Params().Top
	if had != top {
		return fault.New("", "candidates", had, "open the engine with the head's number", "the head reads ranks among the %d likeliest tokens, the engine lists %d", had, top)
	}
	return nil
}

// topOf is the number of likeliest tokens that a head's ranks are counted among: the first
// heads do not say, and come from engines that listed the default.
func topOf(schema states.Schema, m *llama.Model) int {
	return cmp.Or(schema.Top, min(engine.DefaultTop, m.Info().Vocab))
}

func (h *headSource) Ahead() bool { return h.head.CanScoreCandidates() }

func (h *headSource) Advantages() bool { return h.head.Advantages() != nil }

func (h *headSource) Unit() Unit {
	u := Unit{Value: h.head.Unit()}
	if a := h.head.Advantages(); a != nil {
		u.Advantage = a.Unit()
	}
	return u
}

func (h *headSource) InTurn() bool { return false }

func (h *headSource) NeedsPrompt() bool {
	a := h.head.Advantages()
	return h.head.NeedsPrompt() || a != nil && a.NeedsPrompt()
}

func (h *headSource) Open(r Request) (Valuer, error) {
	return &headValuer{headSource: h, prompt: r.States}, nil
}

type headValuer struct {
	*headSource
	prompt *states.Prompt
	// What tokens add after the prompt, and after the candidate that was asked for last, once they were asked for.
	fresh, advantages []float32
	start             float32 // the sum that they begin from
	said              []int32 // what makes them differ
	idle              []*valuehead.Memory
	// scratch: what candidates have pushed or are asked
	memories        []*valuehead.Memory
	tokens          []int32
	hidden, scalars [][]float32
	flat            []float32
}

func (v *headValuer) ReadsStates() bool { return true }

func (v *headValuer) Advantages(c *Candidate) (advantages []float32, slope float64, err error) {
	a := v.head.Advantages()
	if v.fresh == nil {
		v.fresh, v.start = a.Of(v.prompt), a.Start(v.prompt)
	}
	if !a.Once() && !a.Squashed() {
		return v.fresh, 1, nil
	}
	if v.advantages == nil {
		v.advantages = slices.Clone(v.fresh)
	}
	for _, y := range v.said {
		v.advantages[y] = v.fresh[y]
	}
	v.said = slices.DeleteFunc(c.Tokens(), func(y int32) bool { return y < 0 || int(y) >= len(v.fresh) })
	sum := v.start
	for _, y := range v.said {
		if sum += v.advantages[y]; a.Once() {
			v.advantages[y] = 0
		}
	}
	return v.advantages, a.Slope(sum), nil
}

func (v *headValuer) Begin() (Memory, error) { return v.head.Begin(v.prompt) }

func (v *headValuer) Fork(m Memory) Memory {
	if n := len(v.idle); n > 0 {
		f := v.idle[n-1]
		v.idle = v.idle[:n-1]
		f.CopyFrom(m.(*valuehead.Memory))
		return f
	}
	return m.(*valuehead.Memory).Clone()
}

func (v *headValuer) Drop(m Memory) { v.idle = append(v.idle, m.(*valuehead.Memory)) }

func (v *headValuer) of(cs []*Candidate) []*valuehead.Memory {
	v.memories = v.memories[:0]
	for _, c := range cs {
		v.memories = append(v.memories, c.Memory.(*valuehead.Memory))
	}
	return v.memories
}

// scalarsRead is the number of those that the head knows: heads of policies that do not think, and those of before there
// were others, have not learned whether a state is one of a thought.
func (h *headSource) scalarsRead() int { return len(h.head.Features().Schema().Scalars) }

// push takes all candidates' tokens in one product.
func (v *headValuer) Push(cs []*Candidate) error {
	v.tokens, v.hidden, v.scalars = v.tokens[:0], v.hidden[:0], v.scalars[:0]
	for _, c := range cs {
		v.tokens, v.hidden, v.scalars = append(v.tokens, c.Last.Token), append(v.hidden, c.Row.States), append(v.scalars, c.Last.Scalars[:v.scalarsRead()])
	}
	return v.head.Push(v.of(cs), v.tokens, v.hidden, v.scalars)
}

func (v *headValuer) Value(_ context.Context, cs []*Candidate, out []float32) error {
	return v.head.Values(v.of(cs), v.reading, out)
}

func (v *headValuer) Score(_ context.Context, c *Candidate, tokens []int32, out []float32) error {
	v.flat = v.flat[:0]
	for _, token := range tokens {
		_, scalars := Observe(c.Row, token)
		if c.Reader.Next(token) == think.Thinking {
			scalars[Thinking] = 1
		}
		v.flat = append(v.flat, scalars[:v.scalarsRead()]...)
	}
	return v.head.Candidates(c.Memory.(*valuehead.Memory), tokens, v.flat, v.reading, out)
}

func (v *headValuer) Close() {}
