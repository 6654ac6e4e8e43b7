package llama

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"
)

// CacheType is the storage format of the KV cache (ggml_type).
type CacheType int32

// The formats that llama.cpp's --cache-type-k and -v offer most.
const (
	CacheF16  CacheType = 0 // the default
	CacheF32  CacheType = -1
	CacheQ8_0 CacheType = 8
)

// ggml maps the zero value to F16, llama.cpp's default.
func (t CacheType) ggml() C.int32_t {
	switch t {
	case CacheF32:
		return 0
	case CacheQ8_0:
		return 8
	}
	return 1
}

func (t CacheType) known() bool { return t == CacheF16 || t == CacheF32 || t == CacheQ8_0 }

// FlashAttention chooses the attention kernel.
type FlashAttention int32

const (
	FlashAuto FlashAttention = 0
	FlashOff  FlashAttention = 1
	FlashOn   FlashAttention = 2
)

func (f FlashAttention) ggml() C.int32_t { return C.int32_t(f) - 1 }

// ContextParams are the options of [Model.NewContext].
type ContextParams struct {
	Ctx       int // KV cells shared by all sequences; 0 takes the training context
	Batch     int // most tokens of one Decode; default 2048
	UBatch    int // tokens computed at once; default 512
	Sequences int // sequence ids run from 0 to Sequences-1; default 1
	Threads   int // default: the number of CPUs
	Flash     FlashAttention
	CacheK    CacheType
	CacheV    CacheType
	// Streams gives every sequence a KV buffer of its own of Ctx/Sequences cells
	// (llama.cpp's kv_unified=false): results do not depend on the other sequences to
	// the last bit, but prefixes are copied, not shared, and layers cannot be tapped.
	Streams bool
	// Embeddings makes [Row].Hidden available: the state after the final norm.
	Embeddings bool
	// Layers are the layers whose states [Row].States gives for every output row,
	// side by side in this order: 0 is the output of the first layer, Info().Layers
	// means the state after the final norm.
	Layers []int
	// Top is the number of likeliest tokens that [Row].Top gives; default 0.
	Top int
}

// headWidth is the width of an attention head's keys or values.
func (m *Model) headWidth(what string) int {
	if n, ok := m.head.Int(m.info.Architecture + ".attention." + what + "_length"); ok {
		return int(n)
	}
	return m.info.Width / max(m.info.Heads, 1)
}

// MaxSequences is the highest number of sequences of one context.
const MaxSequences = 256 // LLAMA_MAX_SEQ

// Context is the state of an inference: a KV cache with up to Sequences sequences
// (llama_context). It belongs to one goroutine at a time; only Abort may be called
// from another.
type Context struct {
	c      *C.ivo_context
	model  *Model
	params ContextParams
	inUse  atomic.Bool

	// the C arrays of a batch, [Batch] each
	token, pos, seq []int32
	output          []int8
	invTemp         []float32
	n, rows         int // tokens added to the batch, and those with output
}

// NewContext makes a context (llama_init_from_model).
func (m *Model) NewContext(p ContextParams) (*Context, error) {
	const op = "new context"
	if m.c == nil {
		return nil, &Error{Op: op, Err: ErrClosed}
	}
	if p.Ctx == 0 {
		p.Ctx = m.info.ContextTrain
	}
	if p.Batch == 0 {
		p.Batch = 2048
	}
	p.Batch = min(p.Batch, p.Ctx)
	if p.UBatch == 0 {
		p.UBatch = 512
	}
	p.UBatch = min(p.UBatch, p.Batch)
	if p.Sequences == 0 {
		p.Sequences = 1
	}
	if p.Threads == 0 {
		p.Threads = runtime.NumCPU()
	}
	switch {
	case m.info.Layers == 0:
		return nil, failf(op, "load it without VocabOnly", "only the vocabulary was loaded")
	case !m.info.HasDecoder:
		return nil, failf(op, "ivo steers models that generate text", "a %s model has no decoder", m.info.Architecture)
	case p.Ctx < 0 || p.Ctx > 1<<28:
		return nil, failf(op, "give -c a number of tokens, or 0 for the model's own", "context size %d", p.Ctx)
	case p.Batch < 1 || p.UBatch < 1:
		return nil, failf(op, "give -b and -ub positive numbers", "batch size %d, micro-batch size %d", p.Batch, p.UBatch)
	case p.Sequences < 1 || p.Sequences > MaxSequences:
		return nil, failf(op, fmt.Sprintf("llama.cpp holds 1 to %d", MaxSequences), "%d sequences", p.Sequences)
	case p.Threads < 1 || p.Threads > 4*runtime.NumCPU():
		// ggml's threads spin at barriers: more threads than cores is slower by orders of magnitude.
		return nil, failf(op, fmt.Sprintf("this machine has %d CPUs", runtime.NumCPU()), "%d threads", p.Threads)
	case m.info.Encoder:
		return nil, failf(op, "ivo steers models that only decode", "a %s model reads its prompt with an encoder", m.info.Architecture)
	case m.info.Recurrent && slices.ContainsFunc(p.Layers, func(l int) bool { return l < m.info.Layers }):
		// Their batches are split by sequence: the tapped rows would be mixed up.
		return nil, failf(op, fmt.Sprintf("choose layer %d, the state after the final norm", m.info.Layers), "inner layers of a recurrent model cannot be tapped")
	case !p.CacheK.known() || !p.CacheV.known() || p.Flash < FlashAuto || p.Flash > FlashOn:
		return nil, failf(op, "use the constants of this package", "cache types %d and %d, flash attention %d", p.CacheK, p.CacheV, p.Flash)
	case (p.CacheK == CacheQ8_0 && m.headWidth("key")%32 != 0) || (p.CacheV == CacheQ8_0 && m.headWidth("value")%32 != 0):
		return nil, failf(op, "use an f16 cache", "a Q8_0 cache needs heads of a multiple of 32, this model's are %d wide", m.headWidth("key"))
	case p.Streams && len(p.Layers) > 0:
		return nil, failf(op, "", "layers cannot be tapped with a stream a sequence")
	case p.CacheV == CacheQ8_0 && p.Flash == FlashOff:
		return nil, failf(op, "a quantized V cache needs flash attention", "cache type Q8_0 for V without flash attention")
	case p.Top < 0:
		return nil, failf(op, "", "%d candidates a row", p.Top)
	}
	layers := make([]int32, len(p.Layers))
	for i, l := range p.Layers {
		if l < 0 || l > m.info.Layers || slices.Contains(p.Layers[:i], l) {
			return nil, failf(op, fmt.Sprintf("layers run from 0 to %d, the last meaning the state after the final norm, each once", m.info.Layers), "layer %d", l)
		}
		layers[i] = int32(l)
	}

	takeErrors()
	cp := (*C.ivo_context_params)(C.calloc(1, C.size_t(unsafe.Sizeof(C.ivo_context_params{}))))
	defer C.free(unsafe.Pointer(cp))
	cp.n_ctx, cp.n_batch, cp.n_ubatch = C.uint32_t(p.Ctx), C.uint32_t(p.Batch), C.uint32_t(p.UBatch)
	cp.n_seq, cp.n_threads = C.uint32_t(p.Sequences), C.int32_t(p.Threads)
	cp.flash_attn, cp.type_k, cp.type_v = p.Flash.ggml(), p.CacheK.ggml(), p.CacheV.ggml()
	cp.kv_unified, cp.embeddings, cp.top_n = C.bool(!p.Streams), C.bool(p.Embeddings), C.int32_t(p.Top)
	if len(layers) > 0 {
		var pin runtime.Pinner
		pin.Pin(&layers[0])
		defer pin.Unpin()
		cp.n_layers, cp.layers = C.int32_t(len(layers)), (*C.int32_t)(unsafe.Pointer(&layers[0]))
	}
	c := C.ivo_context_new(m.c, cp)
	if c == nil {
		why := takeErrors()
		if why == "" {
			why = "llama.cpp could not make it"
		}
		return nil, failf(op, "try a smaller context (-c) or a smaller model", "%s", why)
	}
	p.Ctx, p.Batch, p.Top = int(c.n_ctx), int(c.n_batch), int(c.top_n)
	m.refs.Add(1)
	return &Context{
		c: c, model: m, params: p,
		token:   unsafe.Slice((*int32)(unsafe.Pointer(c.token)), p.Batch),
		pos:     unsafe.Slice((*int32)(unsafe.Pointer(c.pos)), p.Batch),
		seq:     unsafe.Slice((*int32)(unsafe.Pointer(c.seq)), p.Batch),
		output:  unsafe.Slice((*int8)(unsafe.Pointer(c.output)), p.Batch),
		invTemp: unsafe.Slice((*float32)(unsafe.Pointer(c.inv_temp)), p.Batch),
	}, nil
}

// Params are the options in force, defaults filled in. Ctx is what llama.cpp made of it.
func (c *Context) Params() ContextParams { return c.params }

// Model is the model the context belongs to.
func (c *Context) Model() *Model { return c.model }

// Close frees the context. A second Close does nothing.
func (c *Context) Close() error {
	if c.c == nil {
		return nil
	}
	if !c.inUse.CompareAndSwap(false, true) {
		return &Error{Op: "close context", Err: ErrBusy}
	}
	C.ivo_context_free(c.c)
	c.c = nil
	c.model.refs.Add(-1)
	c.inUse.Store(false)
	return nil
}

// enter claims the context for one call.
func (c *Context) enter(op string) error {
	if !c.inUse.CompareAndSwap(false, true) {
		return &Error{Op: op, Err: ErrBusy, Hint: "a context belongs to one goroutine at a time"}
	}
	if c.c == nil {
		c.inUse.Store(false)
		return &Error{Op: op, Err: ErrClosed}
	}
	return nil
}

func (c *Context) leave() { c.inUse.Store(false) }

// Abort makes the decode under way, and every later one until Abort(false), return
// [ErrAborted]. It may be called from any goroutine.
func (c *Context) Abort(stop bool) {
	if c.c == nil {
		return
	}
	v := int32(0)
	if stop {
		v = 1
	}
	atomic.StoreInt32((*int32)(unsafe.Pointer(&c.c.abort)), v)
}

// Add appends a token to the next batch: its id, its position in the sequence, and
// whether its row is wanted. temp is the temperature of [Row.LSET]; 0 means 1. It returns the
// index of the output row, -1 without output.
func (c *Context) Add(token, pos, seq int32, output bool, temp float32) (row int, err error) {
	const op = "add to batch"
	if c.c == nil {
		return -1, &Error{Op: op, Err: ErrClosed}
	}
	switch {
	case c.n >= c.params.Batch:
		return -1, failf(op, "decode what is there first, or raise -b", "the batch holds %d tokens", c.params.Batch)
	case seq < 0 || int(seq) >= c.params.Sequences:
		return -1, failf(op, "raise the number of sequences", "sequence %d is not one of %d", seq, c.params.Sequences)
	case pos < 0:
		return -1, failf(op, "", "position %d", pos)
	}
	if err := c.model.checkToken(op, token); err != nil {
		return -1, err
	}
	i := c.n
	c.token[i], c.pos[i], c.seq[i], c.output[i] = token, pos, seq, 0
	c.invTemp[i] = 1
	if temp > 0 {
		c.invTemp[i] = 1 / temp
	}
	row = -1
	if output {
		c.output[i] = 1
		row = c.rows
		c.rows++
	}
	c.n++
	return row, nil
}

// Pending is the number of tokens in the batch.
func (c *Context) Pending() int { return c.n }

// Decode computes the batch (llama_decode) and empties it. Rows of earlier decodes
// become invalid. On [ErrContextFull] the cache is as before; after any other error it
// may hold a part of the batch: drop or clear the sequences.
func (c *Context) Decode() error {
	const op = "decode"
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	n := c.n
	c.n, c.rows = 0, 0
	if n == 0 {
		return failf(op, "", "the batch is empty")
	}
	switch status := C.ivo_decode(c.c, C.int32_t(n)); status {
	case 0:
		return nil
	case 1:
		return &Error{Op: op, Err: ErrContextFull, Hint: "raise -c, or run fewer sequences at once"}
	case 2:
		return &Error{Op: op, Err: ErrAborted}
	case C.IVO_NO_STATES:
		return &Error{Op: op, Err: ErrNoStates, Hint: fmt.Sprintf("choose layer %d, the state after the final norm", c.model.info.Layers)}
	case C.IVO_NOT_FINITE:
		return &Error{Op: op, Err: ErrNotFinite, Hint: "the model file may be damaged: load it with --check-tensors"}
	case math.MinInt32:
		return failf(op, "", "llama.cpp failed: %s", takeErrors())
	default:
		return failf(op, "", "llama.cpp returned %d: %s", status, takeErrors())
	}
}

// Row is what a decode left for one output token. The slices are views into C
// memory: valid until the context's next Decode or Close, not to be written to.
type Row struct {
	Logits    []float32 // [vocab]
	Hidden    []float32 // [width], after the final norm; nil unless Embeddings or that layer was chosen
	States    []float32 // [len(Layers)*width], nil without Layers
	LSE       float32   // log sum exp of the logits: log p(y) = Logits[y] - LSE
	Entropy   float32   // of the distribution at temperature 1, nats
	LSET      float32   // log sum exp of logits/T, for the T given to Add
	Top       []int32   // the likeliest tokens, by falling logit
	TopLogits []float32 // their logits
}

// Rows is the number of output rows of the last decode.
func (c *Context) Rows() int {
	if c.c == nil {
		return 0
	}
	return int(c.c.n_outputs)
}

// Row returns output row i of the last decode, counted in the order of Add
// (llama_get_logits, llama_get_embeddings).
func (c *Context) Row(i int) (Row, error) {
	if i < 0 || i >= c.Rows() {
		return Row{}, failf("row", "mark tokens as output when they are added", "row %d of %d", i, c.Rows())
	}
	cc, vocab, width := c.c, c.model.info.Vocab, c.model.info.Width
	r := Row{
		Logits:  view(cc.logits, i, vocab),
		LSE:     view(cc.lse, i, 1)[0],
		Entropy: view(cc.entropy, i, 1)[0],
		LSET:    view(cc.lse_t, i, 1)[0],
	}
	if cc.hidden != nil {
		r.Hidden = view(cc.hidden, i, width)
	}
	if n := len(c.params.Layers); n > 0 {
		r.States = view(cc.states, i, n*width)
	}
	if n := c.params.Top; n > 0 {
		r.Top = unsafe.Slice((*int32)(unsafe.Pointer(cc.top_id)), (i+1)*n)[i*n:]
		r.TopLogits = view(cc.top_logit, i, n)
	}
	return r, nil
}

// view is row i of a C array of rows of n floats.
func view(p *C.float, i, n int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(p)), (i+1)*n)[i*n:]
}

// Clear empties all sequences (llama_memory_clear).
func (c *Context) Clear() error {
	if err := c.enter("clear"); err != nil {
		return err
	}
	defer c.leave()
	C.ivo_clear(c.c)
	c.n, c.rows = 0, 0
	return nil
}

// Fork makes dst a copy of src (llama_memory_seq_cp). In the unified cache the cells
// are shared and nothing is copied. What dst held before is dropped.
func (c *Context) Fork(src, dst int32) error {
	const op = "fork"
	if err := c.checkSequence(op, src); err != nil {
		return err
	}
	if err := c.checkSequence(op, dst); err != nil {
		return err
	}
	if src == dst {
		return nil
	}
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	// A copy onto a sequence that is not empty would merge with it.
	if !C.ivo_seq_rm(c.c, C.int32_t(dst), -1, -1) {
		return failf(op, "", "sequence %d cannot be emptied", dst)
	}
	C.ivo_seq_cp(c.c, C.int32_t(src), C.int32_t(dst), -1, -1)
	return nil
}

// Trim drops the tokens of a sequence from position from on (llama_memory_seq_rm).
func (c *Context) Trim(seq, from int32) error {
	const op = "trim"
	if err := c.checkSequence(op, seq); err != nil {
		return err
	}
	if from < 0 {
		return failf(op, "", "position %d", from)
	}
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	if !C.ivo_seq_rm(c.c, C.int32_t(seq), C.int32_t(from), -1) {
		return failf(op, "drop the whole sequence instead", "the memory of a %s model cannot be cut at position %d", c.model.info.Architecture, from)
	}
	return nil
}

// Drop empties a sequence.
func (c *Context) Drop(seq int32) error { return c.Trim(seq, 0) }

// Len is the number of tokens of a sequence (llama_memory_seq_pos_max + 1).
func (c *Context) Len(seq int32) (int, error) {
	const op = "length"
	if err := c.checkSequence(op, seq); err != nil {
		return 0, err
	}
	if err := c.enter(op); err != nil {
		return 0, err
	}
	defer c.leave()
	return int(C.ivo_seq_pos_max(c.c, C.int32_t(seq))) + 1, nil
}

func (c *Context) checkSequence(op string, seq int32) error {
	if seq < 0 || int(seq) >= c.params.Sequences {
		return failf(op, "", "sequence %d is not one of %d", seq, c.params.Sequences)
	}
	return nil
}

// BareLoop decodes len(tokens)/n batches that each extend n sequences by one token,
// tokens [steps][n], from position pos on, entirely in C: the floor that the Go side's
// speed is measured against. The sequences must hold pos tokens each.
func (c *Context) BareLoop(tokens []int32, n, pos int) error {
	const op = "bare loop"
	if n < 1 || n > c.params.Sequences || n > c.params.Batch || pos < 0 || len(tokens) == 0 || len(tokens)%n != 0 {
		return failf(op, "", "%d tokens for %d sequences from position %d", len(tokens), n, pos)
	}
	if len(c.params.Layers) > 0 {
		return failf(op, "make a context without them", "layers are tapped")
	}
	for _, t := range tokens {
		if err := c.model.checkToken(op, t); err != nil {
			return err
		}
	}
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	c.n, c.rows = 0, 0
	if status := C.ivo_bench_loop(c.c, (*C.int32_t)(unsafe.Pointer(&tokens[0])), C.int32_t(n), C.int32_t(pos), C.int32_t(len(tokens)/n)); status != 0 {
		return failf(op, "", "llama.cpp returned %d", status)
	}
	return nil
}
