package llama

/*
#include "shim.h"
*/
import "C"

import (
	"math"
	"unsafe"
)

// BareLoop decodes len(tokens)/n batches that each extend n sequences by one token,
// tokens [steps][n], from position pos on, entirely in C (llama_decode): the floor that the Go side's
// speed is measured against. The sequences must hold pos tokens each.
func (c *Context) BareLoop(tokens []int32, n, pos int) error {
	const op = "bare loop"
	if len(tokens) == 0 || n < 1 || len(tokens)%n != 0 {
		return failf(op, "", "%d tokens for %d sequences", len(tokens), n)
	}
	return c.bare(op, tokens, n, pos, len(tokens)/n, func() C.int32_t {
		return C.ivo_bench_loop(c.c, (*C.int32_t)(unsafe.Pointer(&tokens[0])), C.int32_t(n), C.int32_t(pos), C.int32_t(len(tokens)/n))
	})
}

// BareSampling is BareLoop of so many steps that begins with a token a sequence, tokens [n], and after
// each step draws the next ones by llama.cpp's own sampler chain of temperature and distribution
// (llama_sampler_sample): what a program in C that samples does. It leaves the last tokens drawn, which
// are not decoded yet, in tokens.
func (c *Context) BareSampling(tokens []int32, pos, steps int, temp float32, seed uint32) error {
	const op = "bare sampling"
	if !(temp > 0) || math.IsInf(float64(temp), 1) {
		return failf(op, "give a temperature above 0", "temperature %v", temp)
	}
	return c.bare(op, tokens, len(tokens), pos, steps, func() C.int32_t {
		return C.ivo_bench_sampling(c.c, (*C.int32_t)(unsafe.Pointer(&tokens[0])), C.int32_t(len(tokens)), C.int32_t(pos), C.int32_t(steps), C.float(temp), C.uint32_t(seed))
	})
}

// bare runs a loop of steps in C that extends n sequences, after it has checked what llama.cpp asserts on.
func (c *Context) bare(op string, tokens []int32, n, pos, steps int, loop func() C.int32_t) error {
	if n < 1 || n > c.params.Sequences || n > c.params.Batch || pos < 0 || steps < 1 || c.positions > 0 && pos+steps > int(c.positions) {
		return failf(op, "", "%d sequences, %d steps from position %d", n, steps, pos)
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
	c.empty()
	if status := loop(); status != 0 {
		return failf(op, "", "llama.cpp returned %d", status)
	}
	return nil
}
