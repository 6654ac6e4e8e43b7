package llama

/*
#include "shim.h"
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"github.com/cespare/xxhash/v2"
)

// ErrState says that a saved sequence does not belong here: another build of llama.cpp,
// another model, another kind of cache, or damaged bytes.
var ErrState = errors.New("the saved sequence does not fit")

// A saved sequence is: the magic, the checksum (u64) of what follows it, the number of
// tokens (u32), the length of the identity (u32), the identity, llama.cpp's bytes.
const (
	stateMagic = "ivoseq1\n"
	stateHead  = len(stateMagic) + 8 + 4 + 4
)

// stateIdentity names what llama.cpp's bytes depend on: they have no meaning for another
// build, model or layout of the cache, and llama.cpp would not always notice.
func (c *Context) stateIdentity() (string, error) {
	weights, err := c.model.Fingerprint()
	if err != nil {
		return "", err
	}
	p := c.params
	return fmt.Sprintf("%s\nmodel %s\ncache %d %d flash %d streams %t window %t rope %v\n", Build(), weights, p.CacheK, p.CacheV, p.Flash, p.Streams, p.FullWindow, p.Rope), nil
}

// SaveSequence returns the KV cells of a sequence as bytes (llama_state_seq_get_data),
// with a checksum and the identity of build, model and cache. [Context.RestoreSequence]
// takes them up where all of these are the same. LoRA adapters and control vectors are
// not a part of it. With Streams, rows of the last decode end where a [Context.Fork] came after it.
func (c *Context) SaveSequence(seq int32) ([]byte, error) {
	const op = "save sequence"
	if err := c.checkSequence(op, seq); err != nil {
		return nil, err
	}
	if c.params.LayersOnly {
		return nil, failf(op, "save one of a context with all layers", "the layers above %d know nothing of the sequence", slices.Max(c.params.Layers))
	}
	identity, err := c.stateIdentity()
	if err != nil {
		return nil, &Error{Op: op, Err: err}
	}
	if err := c.enter(op); err != nil {
		return nil, err
	}
	defer c.leave()
	takeErrors()
	n := int(C.ivo_seq_pos_max(c.c, C.int32_t(seq))) + 1
	size := int(C.ivo_seq_state_size(c.c, C.int32_t(seq)))
	if n <= 0 || size == 0 {
		return nil, failf(op, "decode something first", "sequence %d is empty", seq)
	}
	out := make([]byte, stateHead+len(identity)+size)
	copy(out, stateMagic)
	binary.LittleEndian.PutUint32(out[16:], uint32(n))
	binary.LittleEndian.PutUint32(out[20:], uint32(len(identity)))
	copy(out[stateHead:], identity)
	body := out[stateHead+len(identity):]
	if wrote := int(C.ivo_seq_state_get(c.c, C.int32_t(seq), (*C.uint8_t)(unsafe.Pointer(&body[0])), C.size_t(size))); wrote != size {
		return nil, failf(op, "", "llama.cpp wrote %d of %d bytes: %s", wrote, size, takeErrors())
	}
	binary.LittleEndian.PutUint64(out[8:], xxhash.Sum64(out[16:]))
	return out, nil
}

// RestoreSequence replaces a sequence by one that [Context.SaveSequence] returned
// (llama_state_seq_set_data). It fails with [ErrState] where the bytes are damaged or
// come from another build, model or kind of cache, and with [ErrContextFull] where the
// cells do not suffice; the sequence is empty then.
func (c *Context) RestoreSequence(seq int32, saved []byte) error {
	const op = "restore sequence"
	if err := c.checkSequence(op, seq); err != nil {
		return err
	}
	identity, err := c.stateIdentity()
	if err != nil {
		return &Error{Op: op, Err: err}
	}
	again := "decode the sequence anew"
	if len(saved) < stateHead || string(saved[:len(stateMagic)]) != stateMagic {
		return &Error{Op: op, Err: fmt.Errorf("%w: these are not the bytes of a sequence", ErrState), Hint: again}
	}
	if binary.LittleEndian.Uint64(saved[8:]) != xxhash.Sum64(saved[16:]) {
		return &Error{Op: op, Err: fmt.Errorf("%w: the bytes are damaged", ErrState), Hint: again}
	}
	n, length := int(binary.LittleEndian.Uint32(saved[16:])), int(binary.LittleEndian.Uint32(saved[20:]))
	if length >= len(saved)-stateHead {
		return &Error{Op: op, Err: fmt.Errorf("%w: the bytes are damaged", ErrState), Hint: again}
	}
	body := saved[stateHead+length:]
	if was := string(saved[stateHead : stateHead+length]); was != identity {
		return &Error{Op: op, Err: fmt.Errorf("%w: saved under %q, this is %q", ErrState, was, identity), Hint: again}
	}
	if err := c.checkSaved(body, n); err != nil {
		return &Error{Op: op, Err: fmt.Errorf("%w: %w", ErrState, err), Hint: again}
	}
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	takeErrors()
	if !C.ivo_seq_rm(c.c, C.int32_t(seq), -1, -1) {
		return failf(op, "", "sequence %d cannot be emptied", seq)
	}
	read := int(C.ivo_seq_state_set(c.c, C.int32_t(seq), (*C.uint8_t)(unsafe.Pointer(&body[0])), C.size_t(len(body))))
	if read == len(body) && int(C.ivo_seq_pos_max(c.c, C.int32_t(seq)))+1 == n {
		return nil
	}
	C.ivo_seq_rm(c.c, C.int32_t(seq), -1, -1) // a failed restore may leave positions without cells
	if n > c.params.Ctx {
		return &Error{Op: op, Err: ErrContextFull, Hint: fmt.Sprintf("the sequence has %d tokens: raise {ctx}", n)}
	}
	return &Error{Op: op, Err: fmt.Errorf("%w: %s", ErrContextFull, takeErrors()), Hint: "drop other sequences, or raise {ctx}"}
}
