package llama

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"math"
	"slices"
	"time"
	"unsafe"
)

// Add appends a token to the next batch: its id, its position in the sequence, and
// whether its row is wanted. temp is the temperature of [Row.LSET]; 0 means 1. It returns the
// index of the output row, -1 without output. It fills llama_batch; nothing is computed yet.
func (c *Context) Add(token, pos, seq int32, output bool, temp float32) (row int, err error) {
	if err := c.enter(addOp); err != nil {
		return -1, err
	}
	defer c.leave()
	if output && c.params.LayersOnly {
		return -1, failf(addOp, "add the token with AddKept", "output in a context that computes inner layers only")
	}
	if err := c.place(token, pos, seq, temp); err != nil {
		return -1, err
	}
	i := c.n
	c.n++
	if !output {
		return -1, nil
	}
	c.output[i] = 1
	c.rows++
	return c.rows - 1, nil
}

const addOp = "add to batch"

// Check finds what keeps a token from any batch: what [Context.Add] says of its id, position and temperature.
func (c *Context) Check(token, pos int32, temp float32) error {
	const op = addOp
	switch {
	case pos < 0:
		return failf(op, "positions begin at 0", "position %d", pos)
	case c.positions > 0 && pos >= c.positions:
		return failf(op, "end the text there: the model cannot read on", "position %d of a model that learned %d", pos, c.positions)
	case !(temp >= 0) || temp > 0 && 1/temp > math.MaxFloat32:
		return failf(op, "give a temperature above 0, or 0 for 1", "temperature %v", temp)
	}
	return c.model.checkToken(op, token)
}

// place writes a token without output behind the batch's last.
func (c *Context) place(token, pos, seq int32, temp float32) error {
	const op = addOp
	switch {
	case c.n >= c.params.Batch:
		return failf(op, "decode what is there first, or raise {batch}", "the batch holds %d tokens", c.params.Batch)
	case seq < 0 || int(seq) >= c.params.Sequences:
		return failf(op, "raise the number of sequences", "sequence %d is not one of %d", seq, c.params.Sequences)
	}
	if err := c.Check(token, pos, temp); err != nil {
		return err
	}
	i := c.n
	c.token[i], c.pos[i], c.seq[i], c.output[i], c.keep[i] = token, pos, seq, 0, 0
	c.invTemp[i] = 1
	if temp > 0 {
		c.invTemp[i] = 1 / temp
	}
	return nil
}

// AddKept appends a token whose states are wanted and whose logits are not: those of a
// prompt, which cost nothing so. It returns the index for [Context.Kept]. The tapped layers
// must be inner ones, below the last layer: llama.cpp computes the others for tokens with output
// only.
func (c *Context) AddKept(token, pos, seq int32) (kept int, err error) {
	if err := c.enter(addOp); err != nil {
		return -1, err
	}
	defer c.leave()
	if !c.model.inner(c.params.Layers) {
		return -1, failf(addOp, c.model.hintInner(), "states without logits of layers %v", c.params.Layers)
	}
	if err := c.place(token, pos, seq, 0); err != nil {
		return -1, err
	}
	c.kept++
	c.keep[c.n] = int32(c.kept)
	c.n++
	return c.kept - 1, nil
}

// inner says whether layers, at least one, lie below the last.
func (m *Model) inner(layers []int) bool {
	return len(layers) > 0 && slices.Max(layers) < m.info.Layers-1
}

func (m *Model) hintInner() string { return fmt.Sprintf("tap layers from 0 to %d", m.info.Layers-2) }

// empty takes all tokens out of the batch and ends the validity of the rows.
func (c *Context) empty() {
	c.n, c.rows, c.kept = 0, 0, 0
	c.c.n_outputs, c.c.n_kept = 0, 0
}

// Pending is the number of tokens in the batch; 0 of a context that is closed or in use.
func (c *Context) Pending() int {
	if c.enterToRead("pending") != nil {
		return 0
	}
	defer c.leaveRead()
	return c.n
}

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
	c.n, c.rows, c.kept = 0, 0, 0
	if n == 0 {
		return failf(op, "add tokens first", "the batch is empty")
	}
	takeErrors() // those of earlier calls
	c.c.part = C.int32_t(c.part(c.pos[:n], c.seq[:n]))
	switch status := c.paced(n); status {
	case 0:
		return nil
	case 1:
		return &Error{Op: op, Err: ErrContextFull, Hint: "raise {ctx}, or run fewer sequences at once"}
	case 2:
		return &Error{Op: op, Err: ErrAborted}
	case C.IVO_NO_STATES:
		return &Error{Op: op, Err: ErrNoStates, Hint: fmt.Sprintf("choose layer %d, the state after the final norm", c.model.info.Layers)}
	case C.IVO_NOT_FINITE:
		return &Error{Op: op, Err: ErrNotFinite, Hint: "the model file may be damaged: load it with {check_tensors}"}
	case math.MinInt32:
		return failf(op, "", "llama.cpp failed: %s", takeErrors())
	default:
		return failf(op, "", "llama.cpp returned %d: %s", status, takeErrors())
	}
}

// paced decodes n tokens with as many threads as serve.
func (c *Context) paced(n int) C.int32_t {
	threads, lost, begin := c.pace.now, switches(), time.Now()
	status := C.ivo_decode(c.c, C.int32_t(n))
	if now := time.Now(); status == 0 && c.pace.step(n, now.Sub(begin), switches()-lost, now) != threads {
		c.setThreads(c.pace.now)
	}
	return status
}

// setThreads lets n threads of the context's pool compute (llama_set_n_threads).
func (c *Context) setThreads(n int) { C.ivo_set_threads(c.c, C.int32_t(n)) }

// Row is what a decode left for one output token. The slices are views into C
// memory: valid until the context's next Decode, BareLoop, Clear, SetLoRA,
// SetControlVector or Close, not to be written to.
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

// Rows is the number of output rows of the last decode; 0 of a context that is closed or
// in use.
func (c *Context) Rows() int {
	if c.enterToRead("rows") != nil {
		return 0
	}
	defer c.leaveRead()
	return int(c.c.n_outputs)
}

// Row returns output row i of the last decode, counted in the order of Add
// (llama_get_logits, llama_get_embeddings).
func (c *Context) Row(i int) (Row, error) {
	const op = "row"
	if err := c.enterToRead(op); err != nil {
		return Row{}, err
	}
	defer c.leaveRead()
	if n := int(c.c.n_outputs); i < 0 || i >= n {
		return Row{}, failf(op, "mark tokens as output when they are added", "row %d of %d", i, n)
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

// Kept returns the states of token i of the last decode that was added with
// [Context.AddKept], [len(Layers)*width]: a view as in [Row].
func (c *Context) Kept(i int) ([]float32, error) {
	const op = "kept states"
	if err := c.enterToRead(op); err != nil {
		return nil, err
	}
	defer c.leaveRead()
	if n := int(c.c.n_kept); i < 0 || i >= n {
		return nil, failf(op, "add tokens with AddKept", "token %d of %d", i, n)
	}
	return view(c.c.kept, i, len(c.params.Layers)*c.model.info.Width), nil
}

// view is row i of a C array of rows of n floats.
func view(p *C.float, i, n int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(p)), (i+1)*n)[i*n:]
}
