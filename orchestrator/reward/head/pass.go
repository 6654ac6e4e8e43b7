package head

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

const (
	// together is the number of tokens up to which conversations are computed in one decode: as many as
	// llama.cpp computes at once, for more of them only lengthen the cache that each looks through.
	together = 512
	// togetherShared is the same where they have most in common: that is computed once.
	togetherShared = 2048
	// sequences is the most conversations of one decode.
	sequences = 32
	// leastCells of the KV cache are there from the beginning; it grows with what comes.
	leastCells = 1024
	// manyCells are those beyond which fewer tokens are computed at once, down to leastAtOnce: without flash
	// attention each has a number for every cell and head.
	manyCells, leastAtOnce = 8192, 32
)

// pack is how many of the first conversations are computed together, and the cells that they take.
func pack(all []*conversation) (n, cells int) {
	n, cells = 1, len(all[0].tokens)
	// Of those with the last one's prompt: the first, what all have in common, their tokens; and the
	// cells of those before.
	first, prefix, tokens, before := 0, cells-1, cells, 0
	for ; n < min(len(all), sequences); n++ {
		next, most := all[n], together
		if next.prompt == all[first].prompt {
			prefix = min(prefix, common(all[first].tokens, next.tokens), len(next.tokens)-1)
			tokens += len(next.tokens)
			if 2*prefix > len(next.tokens) {
				most = togetherShared
			}
		} else {
			first, prefix, tokens, before = n, len(next.tokens)-1, len(next.tokens), cells
		}
		with := before + tokens - (n-first)*prefix
		if with > most {
			break
		}
		cells = with
	}
	return n, cells
}

// abortable decodes with a context; it ends early with ctx.
func abortable(ctx context.Context, c *llama.Context, decode func() error) error {
	aborted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		c.Abort(true)
		close(aborted)
	})
	err := decode()
	if !stop() {
		<-aborted
		c.Abort(false)
	}
	if errors.Is(err, llama.ErrAborted) && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// room makes a context of so many cells, if there is none yet.
func (r *Reader) room(cells int) (err error) {
	if r.c != nil && r.c.Params().Ctx >= cells {
		return nil
	}
	if r.c != nil {
		if err := r.c.Close(); err != nil {
			return err
		}
		r.c = nil
	}
	ctx := leastCells
	for ctx < cells {
		ctx *= 2
	}
	r.c, err = r.context(min(ctx, max(leastCells, r.Limit())), sequences, r.inner)
	return err
}

// context makes a context of the trunk that gives the states that are read; with only nothing above them.
//
// An answer's score is to be its own, whatever is scored beside it: so without flash attention, which newer
// llama.cpps compute on the CPU by one kernel for few tokens and by another for 64 and more, 1e-3 to 2e-2 apart.
func (r *Reader) context(cells, sequences int, only bool) (*llama.Context, error) {
	c, err := r.model.NewContext(llama.ContextParams{
		Ctx: cells, Batch: together, UBatch: max(leastAtOnce, min(together, together*manyCells/cells)), Sequences: sequences, Threads: engine.Threads(r.model),
		Flash: llama.FlashOff, Embeddings: r.reads.Layers == nil, Layers: r.reads.Layers, LayersOnly: only, FullWindow: true,
	})
	if err != nil {
		return nil, fmt.Errorf("reward model: %w", err)
	}
	return c, nil
}

// pass decodes conversations, each a sequence. What those of one prompt begin with is decoded
// once and forked.
func (r *Reader) pass(some []*conversation) error {
	if err := r.c.Clear(); err != nil {
		return err
	}
	f := feed{c: r.c, inner: r.inner, layers: r.reads.Layers != nil}
	shared := make([]int, len(some)) // tokens that are there already
	for i := 0; i < len(some); {
		j, n := i+1, len(some[i].tokens)-1
		for j < len(some) && some[j].prompt == some[i].prompt {
			n = min(n, common(some[i].tokens, some[j].tokens), len(some[j].tokens)-1)
			j++
		}
		if j-i > 1 {
			if err := f.add(some[i], int32(i), 0, n, some[i:j]); err != nil {
				return err
			}
			for k := i; k < j; k++ {
				shared[k] = n
			}
		}
		i = j
	}
	if err := f.flush(); err != nil {
		return err
	}
	owner := 0
	for i, c := range some {
		if i == 0 || c.prompt != some[i-1].prompt {
			owner = i
		}
		if shared[i] > 0 && i != owner {
			if err := r.c.Fork(int32(owner), int32(i)); err != nil {
				return err
			}
		}
	}
	for i, c := range some {
		if err := f.add(c, int32(i), shared[i], len(c.tokens), some[i:i+1]); err != nil {
			return err
		}
	}
	return f.flush()
}

// feed gives tokens to a context, a batch at a time, and takes the states that are wanted.
type feed struct {
	c             *llama.Context
	layers, inner bool // the states are those of layers, all of which lie below the last
	wanted        []wanted
}

type wanted struct {
	row int
	to  *[]float32
}

// add feeds a sequence the tokens of a conversation at the positions from from to below to, for some
// conversations that have them in common.
func (f *feed) add(c *conversation, seq int32, from, to int, some []*conversation) error {
	for pos := from; pos < to; pos++ {
		if f.c.Pending() == f.c.Params().Batch {
			if err := f.flush(); err != nil {
				return err
			}
		}
		output := slices.ContainsFunc(some, func(c *conversation) bool { return pos == c.gate || pos >= c.since })
		var row int
		var err error
		if f.inner && output {
			row, err = f.c.AddKept(c.tokens[pos], int32(pos), seq)
		} else {
			row, err = f.c.Add(c.tokens[pos], int32(pos), seq, output, 0)
		}
		if err != nil {
			return err
		}
		for _, c := range some {
			if pos == c.gate {
				f.wanted = append(f.wanted, wanted{row, &c.states.Gate})
			}
			if pos >= c.since {
				f.wanted = append(f.wanted, wanted{row, &c.states.Hidden})
			}
		}
	}
	return nil
}

func (f *feed) flush() error {
	if f.c.Pending() == 0 {
		return nil
	}
	if err := f.c.Decode(); err != nil {
		return fmt.Errorf("reward model: %w", err)
	}
	for _, w := range f.wanted {
		state, err := f.state(w.row)
		if err != nil {
			return err
		}
		*w.to = append(*w.to, state...)
	}
	f.wanted = f.wanted[:0]
	return nil
}

func (f *feed) state(row int) ([]float32, error) {
	if f.inner {
		return f.c.Kept(row)
	}
	r, err := f.c.Row(row)
	if f.layers {
		return r.States, err
	}
	return r.Hidden, err
}
