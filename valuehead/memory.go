package valuehead

import (
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Memory is what a head knows of one response that is being decoded. It takes the tokens
// one at a time; a forked beam takes a copy. It is not safe for concurrent use.
type Memory struct {
	head *Head
	acc  *Accumulator
	// Of a Recall head:
	past    *past
	matches []match
	c       []float32 // [members][channels]
	s       []float32 // [members][scan]
	// The next token's wide columns projected, [members][project], once they are known,
	// which a head of candidates does before the token.
	wide  []float32
	seen  bool
	z     []float32 // of an Additive head: directions of the prompt, shared
	said  []int32   // of an Additive head whose tokens count once
	value float32   // of an Additive head before it is squashed; else what the tokens so far add to the output
}

// past is a prompt as a Recall head sees it, shared by all responses to it.
type past struct {
	tokens []int32
	last   []float32 // row of chosen layers after the last token
	c      []float32 // [members][channels], memory of an empty response
	digest []digest  // of each member
}

// digest is what attention needs of a prompt.
type digest struct {
	key, val []float32 // [P][keys], [P][values]
	last     []float32 // [project], of the last token
}

// Begin returns the memory of an empty response. prompt may be nil unless
// [Head.NeedsPrompt]; its keys and values are computed here once.
func (h *Head) Begin(prompt *states.Prompt) (*Memory, error) {
	m := &Memory{head: h, acc: h.features.NewAccumulator()}
	if h.kind == Additive {
		if h.NeedsPrompt() {
			if err := h.checkPrompt(prompt); err != nil {
				return nil, err
			}
			m.z = h.advantages.directionsOf(prompt)
		}
		m.Reset()
		return m, nil
	}
	if h.features.readsPrompt() {
		if err := h.checkPrompt(prompt); err != nil {
			return nil, err
		}
		m.acc.look(prompt)
	}
	r, ok := h.model.(*recallNet)
	if !ok {
		return m, nil
	}
	ch, n := h.shape.Channels, h.shape.Members
	a := &past{c: make([]float32, n*ch), digest: make([]digest, n)}
	m.past = a
	var rows []float32
	if h.promptWidth() > 0 {
		if err := h.checkPrompt(prompt); err != nil {
			return nil, err
		}
		rows = h.prompt.appendTo(nil, h.features.appendPrompt(nil, prompt))
		a.tokens, a.last = prompt.Tokens, h.lastOfPrompt(prompt)
	}
	for k, params := range h.members() {
		p := parts(r, params)
		if h.promptWidth() > 0 {
			a.digest[k] = r.digestOf(p, rows)
		}
		r.begin(p, a.digest[k].last, a.c[k*ch:(k+1)*ch])
	}
	m.c, m.s, m.wide = make([]float32, n*ch), make([]float32, n*h.shape.Scan), make([]float32, n*h.shape.Project)
	m.Reset()
	return m, nil
}

// checkPrompt finds that a prompt has no states that the head can look back at.
func (h *Head) checkPrompt(p *states.Prompt) error {
	if p == nil {
		return fmt.Errorf("valuehead: the head looks back at the prompt, and its states are missing (make every token of the prompt an output row and pass their states)")
	}
	return checkPrompt(p, h.features.schema)
}

// Reset empties the response; the prompt stays.
func (m *Memory) Reset() {
	m.acc.Reset()
	if m.head.kind == Additive {
		m.value, m.said = m.head.advantages.start(m.z), m.said[:0]
	} else {
		m.value = 0
	}
	if m.past != nil {
		m.acc.begin(m.past.last)
		m.matches, m.seen = m.matches[:0], false
		clear(m.s)
		copy(m.c, m.past.c)
	}
}

// Clone returns an independent copy.
func (m *Memory) Clone() *Memory {
	c := &Memory{head: m.head, acc: m.acc.Clone(), past: m.past, seen: m.seen, z: m.z, value: m.value}
	c.matches, c.c, c.s, c.wide = slices.Clone(m.matches), slices.Clone(m.c), slices.Clone(m.s), slices.Clone(m.wide)
	c.said = slices.Clone(m.said)
	return c
}

// CopyFrom makes m the response that o is. It allocates nothing when both are of one
// head and of prompts of one length.
func (m *Memory) CopyFrom(o *Memory) {
	m.head, m.past, m.seen, m.z, m.value = o.head, o.past, o.seen, o.z, o.value
	m.acc.CopyFrom(o.acc)
	m.matches, m.wide = append(m.matches[:0], o.matches...), append(m.wide[:0], o.wide...)
	m.c, m.s, m.said = append(m.c[:0], o.c...), append(m.s[:0], o.s...), append(m.said[:0], o.said...)
}

// Push takes the next response token, the raw hidden row after it was fed, [Schema.Width],
// and its scalar features, [len(Schema.Scalars)]. [Head.Push] is faster for many responses.
func (m *Memory) Push(token int32, hidden, scalars []float32) error {
	return m.head.Push([]*Memory{m}, []int32{token}, [][]float32{hidden}, [][]float32{scalars})
}

// Push extends each of n responses, which must be different memories, by a token, as
// [Memory.Push] does, in one small product for all.
func (h *Head) Push(memories []*Memory, tokens []int32, hidden, scalars [][]float32) error {
	n := len(memories)
	if len(tokens) != n || len(hidden) != n || len(scalars) != n {
		return fmt.Errorf("valuehead: %d tokens, %d hidden rows and %d rows of scalars for %d responses", len(tokens), len(hidden), len(scalars), n)
	}
	if err := h.check(memories, Reading{}, n); err != nil {
		return err
	}
	for i := range memories { // before any of them changes
		if err := h.features.check(hidden[i], scalars[i]); err != nil {
			return err
		}
	}
	if h.kind == Additive {
		for i, m := range memories {
			m.value += h.advantages.token(m.z, m.said, tokens[i])
			if h.advantages.once {
				m.said = append(m.said, tokens[i])
			}
		}
		return nil
	}
	for i, m := range memories {
		if err := m.acc.Push(hidden[i], scalars[i]); err != nil {
			return err
		}
		m.acc.mention(tokens[i])
	}
	if h.tokens != nil {
		for i, m := range memories {
			m.value += h.token(tokens[i])
		}
	}
	net, ok := h.model.(*recallNet)
	if !ok || n == 0 {
		return nil
	}
	s := h.scratch.Get().(*scratch)
	defer h.scratch.Put(s)
	h.prepare(s, memories, (*Accumulator).appendWide)
	for i, m := range memories {
		s.narrow = m.acc.appendNarrow(s.narrow)
		s.row(m, tokens[i])
		s.starts = append(s.starts, s.n)
		m.seen = false
	}
	h.narrow().apply(s.narrow)
	for i, m := range memories {
		m.matches = append(m.matches[:0], s.matches[i]...)
	}
	for k, params := range h.members() {
		p := s.turn(h, k, params, memories)
		c, said := net.next(p, s)
		for i, turn := range s.turns {
			copy(turn.c, c[i*len(turn.c):])
			copy(turn.s, said[i*len(turn.s):])
		}
	}
	return nil
}

// Values writes the value of each memory's response so far to out, in units of reward. A
// head without atoms knows the mean alone: any other reading of it is an error.
func (h *Head) Values(memories []*Memory, r Reading, out []float32) error {
	if err := h.check(memories, r, len(out)); err != nil {
		return err
	}
	if h.kind == Additive {
		for i, m := range memories {
			out[i] = h.bound(h.advantages.squash.of(m.value), r)
		}
		return nil
	}
	s := h.scratch.Get().(*scratch)
	defer h.scratch.Put(s)
	s.rewind()
	s.reset()
	s.n = len(memories)
	k := h.shape.outputs()
	s.out = s.floats(s.n * k)
	if net, ok := h.model.(*recallNet); ok {
		c := s.floats(s.n * h.shape.Channels)
		h.combine(s, func(k int, params []float32) {
			for i, m := range memories {
				copy(c[i*h.shape.Channels:], m.member(k).c)
			}
			s.weights = appendParts(s.weights[:0], net, params)
			net.read(s.weights, s, c, &mlpTape{})
		})
	} else {
		for _, m := range memories {
			raw := m.acc.AppendRow(s.floats(h.features.width)[:0])
			s.x = h.input.appendTo(s.x, raw)
		}
		h.forward(s)
		if h.tokens != nil {
			for i, m := range memories {
				s.out[i] += m.value
			}
		}
	}
	for i := range memories {
		out[i] = h.value(s.out[i*k:(i+1)*k], r)
	}
	return nil
}

func (h *Head) check(memories []*Memory, r Reading, room int) error {
	if err := h.CheckReading(r); err != nil {
		return err
	}
	if room < len(memories) {
		return fmt.Errorf("valuehead: room for %d values of %d", room, len(memories))
	}
	for _, m := range memories {
		if m.head != h {
			return fmt.Errorf("valuehead: a memory of another head (begin it with the head that is asked)")
		}
	}
	return nil
}
