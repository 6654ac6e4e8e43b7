package llama

/*
#include "shim.h"
*/
import "C"

import (
	"fmt"
	"unsafe"
)

// Clear empties all sequences and the pending batch (llama_memory_clear).
func (c *Context) Clear() error {
	if err := c.enter("clear"); err != nil {
		return err
	}
	defer c.leave()
	C.ivo_clear(c.c)
	c.empty()
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

// Trim drops the tokens of a sequence from position from on (llama_memory_seq_rm). What a recurrent or
// hybrid model remembers cannot be cut but at its end; a model with a sliding window can go back as far as the
// cells that the window needs there are kept, see [ContextParams].FullWindow.
func (c *Context) Trim(seq, from int32) error {
	const op = "trim"
	if err := c.checkSequence(op, seq); err != nil {
		return err
	}
	if from < 0 {
		return failf(op, "positions begin at 0", "position %d", from)
	}
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	if window := int32(c.model.info.Window); from > 0 && window > 0 && !c.model.info.Recurrent {
		first, last := int32(C.ivo_seq_pos_min(c.c, C.int32_t(seq))), int32(C.ivo_seq_pos_max(c.c, C.int32_t(seq)))
		if from <= last && first > max(0, from-window+1) {
			return failf(op, hintDrop, "the sliding window of this %s model has moved on: of what token %d sees, all before token %d is forgotten", c.model.info.Architecture, from, first)
		}
	}
	if !C.ivo_seq_rm(c.c, C.int32_t(seq), C.int32_t(from), -1) {
		return failf(op, hintDrop, "a %s model remembers a text by one state, which cannot go back to token %d", c.model.info.Architecture, from)
	}
	return nil
}

const hintDrop = "drop the whole sequence and decode it anew"

// Drop empties a sequence (llama_memory_seq_rm).
func (c *Context) Drop(seq int32) error { return c.Trim(seq, 0) }

// Detach takes a sequence out of the context, and returns the cells of its tokens from position from on, of which there
// must be some. [Context.Attach] takes them up in this context; for another program's see [Context.SaveSequence].
// It needs a unified cache and a model without a recurrent memory.
func (c *Context) Detach(seq, from int32) ([]byte, error) {
	const op = "detach"
	if err := c.checkDetached(op, seq); err != nil {
		return nil, err
	}
	if err := c.enter(op); err != nil {
		return nil, err
	}
	defer c.leave()
	takeErrors()
	if last := int32(C.ivo_seq_pos_max(c.c, C.int32_t(seq))); from < 0 || from > last {
		return nil, failf(op, "take a position that it has", "sequence %d has %d tokens, none at position %d", seq, last+1, from)
	}
	if from > 0 && !C.ivo_seq_rm(c.c, C.int32_t(seq), 0, C.int32_t(from)) {
		return nil, failf(op, "", "the first %d tokens of sequence %d cannot be dropped", from, seq)
	}
	cells := make([]byte, C.ivo_seq_state_size(c.c, C.int32_t(seq)))
	if len(cells) == 0 {
		return nil, failf(op, "", "sequence %d cannot be copied: %s", seq, takeErrors())
	}
	if n := int(C.ivo_seq_state_get(c.c, C.int32_t(seq), (*C.uint8_t)(unsafe.Pointer(&cells[0])), C.size_t(len(cells)))); n != len(cells) {
		return nil, failf(op, "", "llama.cpp wrote %d of %d bytes: %s", n, len(cells), takeErrors())
	}
	if !C.ivo_seq_rm(c.c, C.int32_t(seq), -1, -1) {
		return nil, failf(op, "", "sequence %d cannot be emptied", seq)
	}
	return cells, nil
}

// Attach makes seq the sequence whose first n tokens are those of another, src, and whose further ones are those that
// [Context.Detach] returned, of the same positions. What seq held before is dropped. It is empty if this fails.
func (c *Context) Attach(seq int32, cells []byte, src, n int32) error {
	const op = "attach"
	if err := c.checkDetached(op, seq); err != nil {
		return err
	}
	if n > 0 {
		if err := c.checkSequence(op, src); err != nil {
			return err
		}
	}
	if len(cells) == 0 || n < 0 || n > 0 && src == seq {
		return failf(op, "give what Detach returned, and another sequence", "%d bytes for sequence %d behind %d tokens of %d", len(cells), seq, n, src)
	}
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	takeErrors()
	if !C.ivo_seq_rm(c.c, C.int32_t(seq), -1, -1) {
		return failf(op, "", "sequence %d cannot be emptied", seq)
	}
	if read := int(C.ivo_seq_state_set(c.c, C.int32_t(seq), (*C.uint8_t)(unsafe.Pointer(&cells[0])), C.size_t(len(cells)))); read != len(cells) {
		C.ivo_seq_rm(c.c, C.int32_t(seq), -1, -1) // there may be positions without cells
		return &Error{Op: op, Err: fmt.Errorf("%w: %s", ErrContextFull, takeErrors()), Hint: "drop other sequences, or decode the tokens anew"}
	}
	if n > 0 {
		C.ivo_seq_cp(c.c, C.int32_t(src), C.int32_t(seq), 0, C.int32_t(n)) // onto what is there: it joins it
	}
	return nil
}

func (c *Context) checkDetached(op string, seq int32) error {
	if c.params.Streams || c.model.info.Recurrent {
		return failf(op, "use a unified cache, and a model without a recurrent memory", "tokens of this context's sequences cannot be moved one by one")
	}
	return c.checkSequence(op, seq)
}

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
		return failf(op, "raise the number of sequences", "sequence %d is not one of %d", seq, c.params.Sequences)
	}
	return nil
}
