package valuehead

import (
	"fmt"
	"math"
)

// Accumulator is the memory of one response that is being decoded: it takes the tokens
// one at a time and yields the input row of the current state. It is not safe for
// concurrent use. A forked beam takes a copy.
type Accumulator struct {
	f *Features
	t int // tokens so far
	// One backing array, so that a copy is one copy:
	memory  []float32
	scalars []float32 // of token t
	sum     []float32
	least   []float32
	most    []float32
	hidden  []float32 // h_t of the chosen layers
	// The same, each empty unless the features have it:
	before []float32 // h_{t-1}
	total  []float32 // sum of h_1..h_t
	low    []float32
	high   []float32
	sums   []float32 // sum of h_1..h_t less the centre
	fading []float32 // [half lives], the same fading

	told []float32 // [promptWidth], the sum of what the prompt says of the tokens in said
	said []int32   // tokens so far that the prompt has too, each once

	// Of features that read the prompt, shared:
	prompt   []float32 // [2][promptWidth]
	mentions *mentions
}

// NewAccumulator returns the memory of an empty response.
func (f *Features) NewAccumulator() *Accumulator {
	a := &Accumulator{f: f}
	wide := []*[]float32{&a.hidden}
	for i, part := range []*[]float32{&a.before, &a.total, &a.low, &a.high, &a.sums} {
		if f.on[[]Block{Previous, HiddenMean, HiddenMin, HiddenMax, HiddenSum}[i]] {
			wide = append(wide, part)
		}
	}
	s, fading, told := len(f.scalars), 0, 0
	if f.on[HiddenDecay] {
		fading = f.size(HiddenDecay)
	}
	if f.on[Mentions] {
		told = f.size(Mentions)
	}
	a.memory = make([]float32, 4*s+fading+told+len(wide)*f.hidden)
	a.cutScalars()
	rest := a.memory[4*s:]
	a.fading, rest = rest[:fading:fading], rest[fading:]
	a.told, rest = rest[:told:told], rest[told:]
	for _, part := range wide {
		*part, rest = rest[:f.hidden:f.hidden], rest[f.hidden:]
	}
	return a
}

// cutScalars makes what is kept of the scalars the first part of the memory.
func (a *Accumulator) cutScalars() {
	s, rest := len(a.f.scalars), a.memory
	for _, part := range []*[]float32{&a.scalars, &a.sum, &a.least, &a.most} {
		*part, rest = rest[:s:s], rest[s:]
	}
}

// Reset empties the response; what is known of the prompt stays.
func (a *Accumulator) Reset() {
	a.t, a.said = 0, a.said[:0]
	clear(a.memory)
}

// Clone returns an independent copy.
func (a *Accumulator) Clone() *Accumulator {
	b := a.f.NewAccumulator()
	b.CopyFrom(a)
	return b
}

// CopyFrom makes a the response that b is. It allocates nothing when both were made by
// the same Features.
func (a *Accumulator) CopyFrom(b *Accumulator) {
	if a.f != b.f {
		*a = *b.f.NewAccumulator()
	}
	a.t, a.prompt, a.mentions = b.t, b.prompt, b.mentions
	a.said = append(a.said[:0], b.said...)
	copy(a.memory, b.memory)
}

// begin empties the response and makes the state after the prompt's last token that
// before the first: a row of chosen layers, or nil for zeros.
func (a *Accumulator) begin(hidden []float32) {
	a.Reset()
	copy(a.hidden, hidden)
}

// ahead is a with the next token before that is fed, good for appendNarrow alone. memory
// is [4][scalars].
func (a *Accumulator) ahead(memory, scalars []float32) Accumulator {
	b := Accumulator{f: a.f, t: a.t + 1, memory: memory, prompt: a.prompt}
	copy(memory, a.memory)
	b.cutScalars()
	b.pushScalars(scalars)
	return b
}

// Push takes the next response token: the raw hidden row after it was fed,
// [Schema.Width], and its scalar features, [len(Schema.Scalars)].
func (a *Accumulator) Push(hidden, scalars []float32) error {
	f := a.f
	if err := f.check(hidden, scalars); err != nil {
		return err
	}
	a.t++
	copy(a.before, a.hidden)
	at := 0
	for _, l := range f.layers {
		at += copy(a.hidden[at:], hidden[l[0]:l[1]])
	}
	for i := range a.total {
		a.total[i] += a.hidden[i]
	}
	a.pushSums()
	if a.t == 1 {
		copy(a.low, a.hidden)
		copy(a.high, a.hidden)
	}
	for i := range a.low {
		a.low[i] = min(a.low[i], a.hidden[i])
	}
	for i := range a.high {
		a.high[i] = max(a.high[i], a.hidden[i])
	}
	a.pushScalars(scalars)
	return nil
}

// pushSums adds the new state to what runs along the response.
func (a *Accumulator) pushSums() {
	for i := range a.sums {
		a.sums[i] += a.fresh(i)
	}
	for at, k := 0, 0; at < len(a.fading); at, k = at+a.f.hidden, k+1 {
		keep := float32(math.Exp2(-1 / halfLives[k]))
		for i := range a.f.hidden {
			a.fading[at+i] = keep*a.fading[at+i] + a.fresh(i)
		}
	}
}

// fresh is a float of the new state less the centre.
func (a *Accumulator) fresh(i int) float32 {
	if a.f.centre == nil {
		return a.hidden[i]
	}
	return a.hidden[i] - a.f.centre[i]
}

// check reports whether raw rows of a token fit the schema.
func (f *Features) check(hidden, scalars []float32) error {
	if len(hidden) != f.schema.Width || len(scalars) != len(f.schema.Scalars) {
		return fmt.Errorf("valuehead: a token of %d hidden floats and %d scalars, want %d and %d (decode with the layers the head was trained on)",
			len(hidden), len(scalars), f.schema.Width, len(f.schema.Scalars))
	}
	return nil
}

func (a *Accumulator) pushScalars(scalars []float32) {
	for i, from := range a.f.scalars {
		v := scalars[from]
		a.scalars[i] = v
		a.sum[i] += v
		if a.t == 1 {
			a.least[i], a.most[i] = v, v
		} else {
			a.least[i], a.most[i] = min(a.least[i], v), max(a.most[i], v)
		}
	}
}

// AppendRow appends the input row of the current state, [Features.Width], to dst. It is
// not standardised: the head does that. Before the first token the row is all zeros.
func (a *Accumulator) AppendRow(dst []float32) []float32 { return a.appendNarrow(a.appendWide(dst)) }

// appendWide appends the columns of the layers.
func (a *Accumulator) appendWide(dst []float32) []float32 {
	on := a.f.on
	if on[Hidden] {
		dst = append(dst, a.hidden...)
	}
	if on[Previous] {
		dst = append(dst, a.before...)
	}
	if on[HiddenMean] {
		dst = appendScaled(dst, a.total, a.per())
	}
	if on[HiddenMin] {
		dst = append(dst, a.low...)
	}
	if on[HiddenMax] {
		dst = append(dst, a.high...)
	}
	dst = append(dst, a.sums...)
	return append(dst, a.fading...)
}

// appendAhead appends the columns of the layers of the next token, before that is fed, of
// features that can be made so.
func (a *Accumulator) appendAhead(dst []float32) []float32 {
	if a.f.on[Previous] {
		dst = append(dst, a.hidden...)
	}
	return dst
}

// per is one over the number of tokens.
func (a *Accumulator) per() float32 { return 1 / float32(max(a.t, 1)) }

// appendNarrow appends the other columns.
func (a *Accumulator) appendNarrow(dst []float32) []float32 {
	on := a.f.on
	if on[Scalar] {
		dst = append(dst, a.scalars...)
	}
	if on[ScalarSum] {
		dst = append(dst, a.sum...)
	}
	if on[ScalarMean] {
		dst = appendScaled(dst, a.sum, a.per())
	}
	if on[ScalarMin] {
		dst = append(dst, a.least...)
	}
	if on[ScalarMax] {
		dst = append(dst, a.most...)
	}
	if on[Length] {
		dst = append(dst, float32(a.t), float32(math.Log1p(float64(a.t))))
	}
	if a.f.readsPrompt() {
		w := a.f.promptWidth
		if a.prompt == nil { // an accumulator that nobody told of its prompt
			a.prompt = make([]float32, 2*w)
		}
		if on[PromptMean] {
			dst = append(dst, a.prompt[:w]...)
		}
		if on[PromptLast] {
			dst = append(dst, a.prompt[w:]...)
		}
		dst = append(dst, a.told...)
	}
	return dst
}

func appendScaled(dst, x []float32, scale float32) []float32 {
	for _, v := range x {
		dst = append(dst, v*scale)
	}
	return dst
}
