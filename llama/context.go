package llama

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

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
	Batch     int // most tokens of one Decode, at least Sequences; default 2048
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
	// LayersOnly computes nothing above the highest of Layers, which have to be inner ones: no token
	// has output, and the states of those that were added with [Context.AddKept] are all there is.
	LayersOnly bool
	// Top is the number of likeliest tokens that [Row].Top gives; default 0.
	Top int
	// Rope changes the model's positional encoding, to stretch its context.
	Rope RopeParams
	// NoKVOffload keeps the KV cache off the GPU, and NoOpOffload the products of
	// weights that are not offloaded.
	NoKVOffload, NoOpOffload bool
	// FullWindow keeps all cells of layers with sliding-window attention, so that their
	// sequences can be trimmed and partly copied beyond the window.
	FullWindow bool
}

// RopeScaling is the way in which rotary positions are stretched (enum
// llama_rope_scaling_type).
type RopeScaling int32

const (
	RopeModel    RopeScaling = 0 // what the model file says
	RopeNone     RopeScaling = 1
	RopeLinear   RopeScaling = 2
	RopeYaRN     RopeScaling = 3
	RopeLongRope RopeScaling = 4
)

// RopeParams are the options of rotary positions, by llama.cpp's names for its flags
// (--rope-scaling, --rope-freq-base and so on). Zero values take the model's own.
type RopeParams struct {
	Scaling   RopeScaling
	FreqBase  float32
	FreqScale float32 // 0.5 stretches the context to twice its length
	// YaRN (arXiv 2309.00071)
	YaRNExtFactor  float32
	YaRNAttnFactor float32
	YaRNBetaFast   float32
	YaRNBetaSlow   float32
	YaRNOrigCtx    int // tokens of context before the stretching
}

func (r RopeParams) check() error {
	const op = "new context"
	if r.Scaling < RopeModel || r.Scaling > RopeLongRope {
		return failf(op, "use the constants of this package", "rope scaling %d", r.Scaling)
	}
	for _, x := range []float32{r.FreqBase, r.FreqScale, r.YaRNExtFactor, r.YaRNAttnFactor, r.YaRNBetaFast, r.YaRNBetaSlow} {
		if !(x >= 0) || math.IsInf(float64(x), 1) {
			return failf(op, "give positive numbers, or 0 for the model's own", "rope parameters %+v", r)
		}
	}
	if r.YaRNOrigCtx < 0 || r.YaRNOrigCtx > maxCtx {
		return failf(op, "give a number of tokens, or 0 for the model's own", "an original context of %d tokens", r.YaRNOrigCtx)
	}
	return nil
}

// own is -1, llama.cpp's sign for the model's own value, where x is not set.
func own(x float32) C.float {
	if x == 0 {
		return -1
	}
	return C.float(x)
}

// headWidth is the width of an attention head's keys or values.
func (m *Model) headWidth(what string) int {
	if n, ok := m.head.Int(m.info.Architecture + ".attention." + what + "_length"); ok {
		return int(n)
	}
	return m.info.Width / max(m.info.Heads, 1)
}

const maxCtx = 1 << 28 // cells

// MaxSequences is the highest number of sequences of one context.
const MaxSequences = 256 // LLAMA_MAX_SEQ

// Context is the state of an inference: a KV cache with up to Sequences sequences
// (llama_context). It belongs to one goroutine at a time: a second one that calls it
// meanwhile gets [ErrBusy]. Several may read its rows at once, and Abort may be called
// from anywhere.
type Context struct {
	c      *C.ivo_context
	model  *Model
	params ContextParams
	loras  int // adapters of the model when the context was made

	using    sync.RWMutex // only tried, never waited for: by readers of rows together, by all else alone
	aborting sync.Mutex   // Abort takes no turn: this keeps Close from freeing what it writes to

	// the C arrays of a batch, [Batch] each
	token, pos, seq []int32
	keep            []int32
	output          []int8
	invTemp         []float32
	n, rows, kept   int // tokens added to the batch, those with output, and those that are kept

	filled    int   // cells, as far as is known
	positions int32 // that the model has learned; 0 for any number
	pace      pace
}

// NewContext makes a context (llama_init_from_model).
func (m *Model) NewContext(p ContextParams) (*Context, error) {
	const op = "new context"
	if err := m.enter(op); err != nil {
		return nil, err
	}
	defer m.leave()
	p.Layers = slices.Clone(p.Layers)
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
	// Newer llama.cpp asserts on fewer outputs than sequences, and a batch is what bounds outputs.
	if p.Batch > 0 {
		p.Batch = max(p.Batch, min(p.Sequences, p.Ctx))
	}
	if p.Threads == 0 {
		p.Threads = runtime.NumCPU()
	}
	switch {
	case m.info.Layers == 0:
		return nil, failf(op, "load it without VocabOnly", "only the vocabulary was loaded")
	case !m.info.HasDecoder:
		return nil, failf(op, "ivo steers models that generate text", "a %s model has no decoder", m.info.Architecture)
	case slices.Contains(noMemory, m.info.Architecture):
		return nil, failf(op, "ivo steers models that generate text", "a %s model does not generate token by token", m.info.Architecture)
	case p.Ctx < 0 || p.Ctx > maxCtx:
		return nil, failf(op, hintCtx, "context size %d is not from 0 to %d", p.Ctx, maxCtx)
	case p.Batch < 1 || p.UBatch < 1:
		return nil, failf(op, "set {batch} and {ubatch} to positive numbers", "batch size %d, micro-batch size %d", p.Batch, p.UBatch)
	case p.Sequences < 1 || p.Sequences > MaxSequences:
		return nil, failf(op, fmt.Sprintf("llama.cpp holds 1 to %d", MaxSequences), "%d sequences", p.Sequences)
	case p.Threads < 1 || p.Threads > 4*runtime.NumCPU():
		// ggml's threads spin at barriers: more threads than cores is slower by orders of magnitude.
		return nil, failf(op, fmt.Sprintf("this machine has %d CPUs", runtime.NumCPU()), "%d threads", p.Threads)
	case m.info.Encoder:
		return nil, failf(op, "ivo steers models that only decode", "a %s model reads its prompt with an encoder", m.info.Architecture)
	case !p.CacheK.known() || !p.CacheV.known() || p.Flash < FlashAuto || p.Flash > FlashOn:
		return nil, failf(op, "use the constants of this package", "cache types %d and %d, flash attention %d", p.CacheK, p.CacheV, p.Flash)
	case m.headWidth("key")%p.CacheK.block() != 0 || m.headWidth("value")%p.CacheV.block() != 0:
		return nil, failf(op, "use an f16 cache", "a quantized cache needs heads of a multiple of 32, this model's are %d wide", m.headWidth("key"))
	case p.Streams && len(p.Layers) > 0:
		return nil, failf(op, "leave Streams out, or the layers", "layers cannot be tapped with a stream a sequence")
	case p.CacheV.block() > 1 && p.Flash == FlashOff:
		return nil, failf(op, "turn it on, or use an f16 cache", "a quantized V cache needs flash attention")
	case p.Top < 0:
		return nil, failf(op, "give Top a number of tokens, or 0", "%d candidates a row", p.Top)
	}
	if err := p.Rope.check(); err != nil {
		return nil, err
	}
	layers := make([]int32, len(p.Layers))
	for i, l := range p.Layers {
		if l < 0 || l > m.info.Layers || slices.Contains(p.Layers[:i], l) {
			return nil, failf(op, fmt.Sprintf("layers run from 0 to %d, the last meaning the state after the final norm, each once", m.info.Layers), "layer %d", l)
		}
		layers[i] = int32(l)
	}
	if p.LayersOnly && !m.inner(p.Layers) {
		return nil, failf(op, m.hintInner(), "states without logits of layers %v", p.Layers)
	}

	if err := m.checkMemory(op, p); err != nil {
		return nil, err
	}

	takeErrors()
	cp := (*C.ivo_context_params)(C.calloc(1, C.size_t(unsafe.Sizeof(C.ivo_context_params{}))))
	defer C.free(unsafe.Pointer(cp))
	cp.n_ctx, cp.n_batch, cp.n_ubatch = C.uint32_t(p.Ctx), C.uint32_t(p.Batch), C.uint32_t(p.UBatch)
	cp.n_seq, cp.n_threads = C.uint32_t(p.Sequences), C.int32_t(p.Threads)
	cp.flash_attn, cp.type_k, cp.type_v = p.Flash.ggml(), C.int32_t(p.CacheK.ggml()), C.int32_t(p.CacheV.ggml())
	cp.offload_kqv, cp.op_offload, cp.swa_full = C.bool(!p.NoKVOffload), C.bool(!p.NoOpOffload), C.bool(p.FullWindow)
	cp.rope_scaling, cp.rope_freq_base, cp.rope_freq_scale = C.int32_t(p.Rope.Scaling)-1, C.float(p.Rope.FreqBase), C.float(p.Rope.FreqScale)
	cp.yarn_ext_factor, cp.yarn_attn_factor, cp.yarn_beta_fast = own(p.Rope.YaRNExtFactor), own(p.Rope.YaRNAttnFactor), own(p.Rope.YaRNBetaFast)
	cp.yarn_beta_slow, cp.yarn_orig_ctx = own(p.Rope.YaRNBetaSlow), C.uint32_t(p.Rope.YaRNOrigCtx)
	cp.kv_unified, cp.embeddings, cp.top_n, cp.layers_only = C.bool(!p.Streams), C.bool(p.Embeddings), C.int32_t(p.Top), C.bool(p.LayersOnly)
	cp.n_positions = C.int32_t(m.positions())
	if len(layers) > 0 {
		var pin runtime.Pinner
		pin.Pin(&layers[0])
		defer pin.Unpin()
		cp.n_layers, cp.layers = C.int32_t(len(layers)), (*C.int32_t)(unsafe.Pointer(&layers[0]))
	}
	m.adapters.Lock()
	loras := len(m.loras)
	c := C.ivo_context_new(m.c, cp)
	m.adapters.Unlock()
	if c == nil {
		why := takeErrors()
		if why == "" {
			why = "llama.cpp could not make it"
		}
		hint := "lower {ctx}, or take a smaller model"
		if strings.Contains(why, gaveUp) {
			hint = hintConvert
		}
		return nil, failf(op, hint, "%s", why)
	}
	p.Ctx, p.Batch, p.Top = int(c.n_ctx), int(c.n_batch), int(c.top_n)
	m.refs.Add(1)
	made := &Context{
		c: c, model: m, params: p, loras: loras, positions: m.positions(), pace: pace{most: p.Threads, now: p.Threads, told: tellOnce},
		token:   unsafe.Slice((*int32)(unsafe.Pointer(c.token)), p.Batch),
		pos:     unsafe.Slice((*int32)(unsafe.Pointer(c.pos)), p.Batch),
		seq:     unsafe.Slice((*int32)(unsafe.Pointer(c.seq)), p.Batch),
		output:  unsafe.Slice((*int8)(unsafe.Pointer(c.output)), p.Batch),
		keep:    unsafe.Slice((*int32)(unsafe.Pointer(c.keep)), p.Batch),
		invTemp: unsafe.Slice((*float32)(unsafe.Pointer(c.inv_temp)), p.Batch),
	}
	if err := m.adapt(made); err != nil {
		return nil, errors.Join(err, made.Close())
	}
	return made, nil
}

// Params are the options in force, defaults filled in. Ctx is what llama.cpp made of it.
func (c *Context) Params() ContextParams { return c.params }

// Model is the model the context belongs to.
func (c *Context) Model() *Model { return c.model }

// Close frees the context (llama_free). A second Close does nothing.
func (c *Context) Close() error {
	if !c.using.TryLock() {
		return &Error{Op: "close context", Err: ErrBusy, Hint: "end the call under way first: Abort ends a decode"}
	}
	defer c.leave()
	if c.c == nil {
		return nil
	}
	c.aborting.Lock()
	C.ivo_context_free(c.c)
	c.c = nil
	c.aborting.Unlock()
	c.model.refs.Add(-1)
	return nil
}

// enter claims the context for one call.
func (c *Context) enter(op string) error {
	if !c.using.TryLock() {
		return &Error{Op: op, Err: ErrBusy, Hint: "a context belongs to one goroutine at a time"}
	}
	if c.c == nil {
		c.leave()
		return &Error{Op: op, Err: ErrClosed}
	}
	return nil
}

func (c *Context) leave() { c.using.Unlock() }

// enterToRead claims the context for a call that changes nothing.
func (c *Context) enterToRead(op string) error {
	if !c.using.TryRLock() {
		return &Error{Op: op, Err: ErrBusy, Hint: "a context belongs to one goroutine at a time"}
	}
	if c.c == nil {
		c.leaveRead()
		return &Error{Op: op, Err: ErrClosed}
	}
	return nil
}

func (c *Context) leaveRead() { c.using.RUnlock() }

// Abort makes the decode under way, and every later one until Abort(false), return
// [ErrAborted] (llama_context_params.abort_callback). It may be called from any goroutine.
func (c *Context) Abort(stop bool) {
	c.aborting.Lock()
	defer c.aborting.Unlock()
	if c.c == nil {
		return
	}
	v := int32(0)
	if stop {
		v = 1
	}
	atomic.StoreInt32((*int32)(unsafe.Pointer(&c.c.abort)), v)
}
