// Package decode holds the decoding strategies, one file each: sampling, best-of-n and
// value-guided blockwise beam search. A strategy is straight-line code over an
// [engine.Session]; a value function, where it needs one, is any head of package
// valuehead trained on the model's own states.
//
// The package knows nothing of rewards, files or training.
package decode

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/blas"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Heads are linked with the fast matrix product wherever they guide decoding.
func init() { valuehead.Use(blas.Gemm) }

// Request is one prompt to answer.
type Request struct {
	Prompt    []int32
	MaxTokens int // of the response
	Sampling  Sampling
	Key       uint64   // of the random streams; see [Key]
	Stop      []string // the response ends where one of these ends; it is cut off
	// Head is the value function; nil for none. Its states must be the ones the engine
	// taps, in the same order.
	Head *valuehead.Head
	// EachValue gives every token of the response its value, not only those where a
	// strategy needed one.
	EachValue bool
	// Reading says which number of the head's distribution a value is; zero is the mean.
	Reading valuehead.Reading
	// Record keeps the states and scalars of the response, for training, and RecordPrompt
	// the states of the prompt.
	Record, RecordPrompt bool
	// Emit, if set, is called with text of the response as soon as no later step can
	// take it back. A piece may end inside a UTF-8 character; the next one completes it.
	Emit func(text []byte)
	// Progress, if set, is called after every step with the tokens decoded so far.
	Progress func(decoded int)
}

// Finish says why a response ended.
type Finish string

const (
	FinishEOG    Finish = "stop"   // an end-of-generation token or a stop string
	FinishLength Finish = "length" // MaxTokens
)

// Response is a finished answer of T tokens, the end-of-generation token included.
type Response struct {
	Tokens   []int32   // [T]
	LogProbs []float32 // [T] log p(a_t | s_{t-1}) of the model at temperature 1
	Values   []float32 // [T] V(s_t), NaN where it was not asked for; nil without a head
	Value    float32   // V of the last state, NaN without a head
	Text     string    // without the end-of-generation token and the stop string
	Finish   Finish
	Decoded  int // tokens decoded for this response, those of pruned candidates included
	// With Record:
	States  []float32 // [T][width] of the tapped layers, after each token
	Scalars []float32 // [T][len(Scalars)]
	// With RecordPrompt, shared by the responses to one request; its ID is for the caller to
	// set.
	Prompt *states.Prompt
}

// node is one token of a response. Forked candidates share the nodes up to the fork.
type node struct {
	parent  *node
	token   int32
	logp    float32
	value   float32 // NaN when not computed
	scalars [numScalars]float32
	states  []float32
}

// candidate is a response that grows.
type candidate struct {
	seq    *engine.Seq
	last   *node
	length int
	text   []byte
	memory *valuehead.Memory
	value  float32
	finish Finish // empty while it grows
	cut    int    // bytes of text that are no part of the answer: a stop string
}

// decoder is what the strategies share: one request in one session.
type decoder struct {
	s       *engine.Session
	req     Request
	sampler Sampler
	feeding []*candidate // scratch of advance
	seqs    []*engine.Seq
	tokens  []int32
	// scratch of advance and value: the candidates' memories, states and scalars, and values
	memories        []*valuehead.Memory
	hidden, scalars [][]float32
	values          []float32

	idle   []*valuehead.Memory
	prompt *states.Prompt // with the states of its tokens; nil where nobody looks at them
	recent []int32
	stop   [][]byte
}

func newDecoder(s *engine.Session, req Request) *decoder {
	d := &decoder{s: s, req: req, sampler: Sampler{Sampling: req.Sampling}}
	for _, str := range req.Stop {
		if str != "" {
			d.stop = append(d.stop, []byte(str))
		}
	}
	return d
}

// start prefills the prompt.
func (d *decoder) start() (*candidate, error) {
	temp := float32(d.req.Sampling.Temp)
	c := &candidate{value: nan}
	var err error
	if d.req.Head != nil && d.req.Head.NeedsPrompt() || d.req.RecordPrompt {
		d.prompt = &states.Prompt{Tokens: d.req.Prompt}
		c.seq, d.prompt.Hidden, err = d.s.PrefillStates(d.req.Prompt, temp)
	} else {
		c.seq, err = d.s.Prefill(d.req.Prompt, temp)
	}
	if err == nil && d.req.Head != nil {
		c.memory, err = d.req.Head.Begin(d.prompt)
	}
	return c, err
}

var nan = float32(math.NaN())

// fork copies a candidate.
func (d *decoder) fork(c *candidate) (*candidate, error) {
	f := *c
	f.text = slices.Clone(c.text)
	if c.finish == "" {
		seq, err := d.s.Fork(c.seq)
		if err != nil {
			return nil, err
		}
		f.seq = seq
	}
	if c.memory != nil {
		if n := len(d.idle); n > 0 {
			f.memory, d.idle = d.idle[n-1], d.idle[:n-1]
			f.memory.CopyFrom(c.memory)
		} else {
			f.memory = c.memory.Clone()
		}
	}
	return &f, nil
}

// drop frees a candidate that lost, or the sequence of one that is finished.
func (d *decoder) drop(c *candidate) {
	if c.seq != nil {
		d.s.Drop(c.seq)
		c.seq = nil
	}
	if c.memory != nil {
		d.idle = append(d.idle, c.memory)
		c.memory = nil
	}
}

// choose draws the next token of a candidate from its row.
func (d *decoder) choose(c *candidate, draw func(row *llama.Row, recent []int32) int32) {
	row := c.seq.Row()
	d.recent = d.recent[:0]
	if d.req.Sampling.penalizes() {
		d.recent = append(append(d.recent, d.req.Prompt...), c.tokens()...)
	}
	token := draw(row, d.recent)
	n := &node{parent: c.last, token: token, value: nan}
	n.logp, n.scalars = observe(row, token)
	c.last = n
	c.length++
}

// advance feeds the tokens that were chosen last, of all candidates in one batch, and
// notes which candidates are finished by them. The token that ends a response is fed
// too when its state is wanted: the last state is the one that knows most.
func (d *decoder) advance(cs []*candidate) error {
	d.feeding, d.seqs, d.tokens = d.feeding[:0], d.seqs[:0], d.tokens[:0]
	for _, c := range cs {
		if err := d.note(c); err != nil {
			return err
		}
		if c.finish == "" || d.req.Head != nil || d.req.Record {
			d.feeding, d.seqs, d.tokens = append(d.feeding, c), append(d.seqs, c.seq), append(d.tokens, c.last.token)
		}
	}
	if err := d.s.Step(d.seqs, d.tokens); err != nil {
		return err
	}
	if d.req.Progress != nil {
		d.req.Progress(d.s.Decoded())
	}
	d.memories, d.hidden, d.scalars = d.memories[:0], d.hidden[:0], d.scalars[:0]
	for _, c := range d.feeding {
		row := c.seq.Row()
		c.last.scalars[nextEntropy] = row.Entropy
		if d.req.Record {
			c.last.states = slices.Clone(row.States)
		}
		if c.memory != nil {
			d.memories = append(d.memories, c.memory)
			d.hidden = append(d.hidden, row.States)
			d.scalars = append(d.scalars, c.last.scalars[:])
		}
	}
	if len(d.memories) > 0 { // all of them: one product
		if err := d.req.Head.Push(d.memories, d.tokens, d.hidden, d.scalars); err != nil {
			return err
		}
	}
	if d.req.EachValue {
		return d.value(d.feeding)
	}
	return nil
}

// note adds the last token's text and sets the finish.
func (d *decoder) note(c *candidate) error {
	token := c.last.token
	if d.s.Model().IsEOG(token) {
		c.finish = FinishEOG
		return nil
	}
	piece, err := d.s.Model().Piece(token, false)
	if err != nil {
		return err
	}
	seen := len(c.text)
	c.text = append(c.text, piece...)
	for _, stop := range d.stop {
		from := max(0, seen-len(stop)+1)
		if i := bytes.Index(c.text[from:], stop); i >= 0 {
			c.finish = FinishEOG
			c.cut = max(c.cut, len(c.text)-from-i)
		}
	}
	if c.finish == "" && c.length >= d.req.MaxTokens {
		c.finish = FinishLength
	}
	return nil
}

// value computes V of each candidate's state.
func (d *decoder) value(cs []*candidate) error {
	if d.req.Head == nil || len(cs) == 0 {
		return nil
	}
	d.memories = d.memories[:0]
	for _, c := range cs {
		d.memories = append(d.memories, c.memory)
	}
	d.values = slices.Grow(d.values[:0], len(cs))[:len(cs)]
	if err := d.req.Head.Values(d.memories, d.req.Reading, d.values); err != nil {
		return err
	}
	for i, c := range cs {
		c.value, c.last.value = d.values[i], d.values[i]
	}
	return nil
}

// tokens are the response's tokens so far.
func (c *candidate) tokens() []int32 {
	out := make([]int32, c.length)
	for n, i := c.last, c.length-1; n != nil; n, i = n.parent, i-1 {
		out[i] = n.token
	}
	return out
}

// response turns a finished candidate into the answer.
func (d *decoder) response(c *candidate, decoded int) Response {
	t := c.length
	r := Response{
		Tokens: c.tokens(), LogProbs: make([]float32, t), Value: c.value,
		Text: string(c.text[:len(c.text)-c.cut]), Finish: c.finish, Decoded: decoded,
	}
	if d.req.RecordPrompt {
		r.Prompt = d.prompt
	}
	if d.req.Head != nil {
		r.Values = make([]float32, t)
	}
	width := 0
	if d.req.Record && t > 0 {
		width = len(c.last.states)
		r.States, r.Scalars = make([]float32, t*width), make([]float32, t*numScalars)
	}
	for n, i := c.last, t-1; n != nil; n, i = n.parent, i-1 {
		r.LogProbs[i] = n.logp
		if r.Values != nil {
			r.Values[i] = n.value
		}
		if d.req.Record {
			copy(r.States[i*width:], n.states)
			copy(r.Scalars[i*numScalars:], n.scalars[:])
		}
	}
	return r
}

// check finds what is wrong with a request before any work is done.
func (r *Request) check(e *engine.Engine, needHead bool) error {
	switch {
	case len(r.Prompt) == 0:
		return fmt.Errorf("the prompt is empty (give one with -p or -f)")
	case r.MaxTokens < 1:
		return fmt.Errorf("a response of %d tokens (give -n a positive number)", r.MaxTokens)
	case needHead && r.Head == nil:
		return fmt.Errorf("this method needs a value function (give one with --value-head, or learn one with ivo iterate)")
	case r.Sampling.Temp < 0 || math.IsNaN(r.Sampling.Temp):
		return fmt.Errorf("temperature %v (give 0 for greedy decoding, or a positive one)", r.Sampling.Temp)
	case !(r.Sampling.TopP >= 0 && r.Sampling.TopP <= 1) || !(r.Sampling.MinP >= 0 && r.Sampling.MinP <= 1) || r.Sampling.TopK < 0:
		return fmt.Errorf("top-k %d, top-p %v, min-p %v (top-k is 0 or more, the others lie from 0 to 1)", r.Sampling.TopK, r.Sampling.TopP, r.Sampling.MinP)
	case len(r.Prompt)+r.MaxTokens > e.Params().Ctx:
		return fmt.Errorf("the prompt has %d tokens and the response up to %d, the context holds %d (raise -c, lower -n, or shorten the prompt)", len(r.Prompt), r.MaxTokens, e.Params().Ctx)
	}
	if r.Head != nil && !slices.Equal(r.Head.Features().Schema().Layers, e.Params().Layers) {
		return fmt.Errorf("the head reads layers %v, the engine taps %v (open the engine with the head's layers)", r.Head.Features().Schema().Layers, e.Params().Layers)
	}
	if r.Head != nil && r.Head.NeedsPrompt() && !slices.Equal(r.Head.Features().Schema().PromptLayers, e.Params().Layers) {
		return fmt.Errorf("the head reads layers %v of the prompt and %v of the response (train a head with this version)", r.Head.Features().Schema().PromptLayers, e.Params().Layers)
	}
	if r.Head != nil && !slices.Equal(r.Head.Features().Schema().Scalars, Scalars) {
		return fmt.Errorf("the head reads the token features %q, this ivo makes %q (train a head with this version)", r.Head.Features().Schema().Scalars, Scalars)
	}
	return nil
}
