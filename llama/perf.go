package llama

/*
#include "shim.h"
*/
import "C"

import "time"

// Perf are a context's counters since it was made or they were reset
// (llama_perf_context). llama.cpp counts a decode of more than one token as prompt, even
// where the tokens belong to several sequences.
type Perf struct {
	PromptTime, DecodeTime     time.Duration
	PromptTokens, DecodeTokens int
	ReusedGraphs               int // decodes that took over the compute graph of the one before
}

// Perf returns the counters.
func (c *Context) Perf() (Perf, error) {
	if err := c.enter("perf"); err != nil {
		return Perf{}, err
	}
	defer c.leave()
	var p C.ivo_perf
	C.ivo_perf_get(c.c, &p)
	ms := func(x C.double) time.Duration { return time.Duration(float64(x) * float64(time.Millisecond)) }
	return Perf{ms(p.prompt_ms), ms(p.decode_ms), int(p.n_prompt), int(p.n_decode), int(p.n_reused)}, nil
}

// ResetPerf sets the counters to zero (llama_perf_context_reset).
func (c *Context) ResetPerf() error {
	if err := c.enter("reset perf"); err != nil {
		return err
	}
	defer c.leave()
	C.ivo_perf_reset(c.c)
	return nil
}
