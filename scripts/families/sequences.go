package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/internal/testfamily"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

// texts are random tokens, the same for all families.
func text(n int, seed uint64) []int32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := []int32{1} // <s>
	for len(out) < n {
		out = append(out, 3+rng.Int32N(50))
	}
	return out[:n]
}

// stage is a context in which several texts grow, each of which is compared with the oracle.
type stage struct {
	*llama.Context
	o     *oracle
	texts map[int32][]int32
}

func open(m *llama.Model, o *oracle, p llama.ContextParams) (*stage, error) {
	p.Layers = o.layers
	c, err := m.NewContext(exact(p))
	return &stage{c, o, map[int32][]int32{}}, err
}

// grow decodes the next tokens of sequences in one batch, and looks at what the model says after the last of each.
func (s *stage) grow(what string, more map[int32][]int32) error {
	at := map[int32]int{}
	for _, seq := range slices.Sorted(maps.Keys(more)) {
		for i, token := range more[seq] {
			r, err := s.Add(token, int32(len(s.texts[seq])), seq, i == len(more[seq])-1, 1)
			if err != nil {
				return err
			}
			s.texts[seq], at[seq] = append(slices.Clip(s.texts[seq]), token), r
		}
	}
	if err := s.Decode(); err != nil {
		return err
	}
	for seq, i := range at {
		got, err := s.Row(i)
		if err != nil {
			return err
		}
		want, err := s.o.row(s.texts[seq])
		if err != nil {
			return err
		}
		if err := want.compare(fmt.Sprintf("%s: sequence %d after %d tokens", what, seq, len(s.texts[seq])), got.Logits, got.States); err != nil {
			return err
		}
	}
	return nil
}

func (s *stage) fork(from, to int32) error {
	s.texts[to] = s.texts[from]
	return s.Fork(from, to)
}

// decodes grows texts of different lengths together.
func decodes(f testfamily.Family, m *llama.Model) (err error) {
	s, err := open(m, &oracle{m: m}, llama.ContextParams{Ctx: 512, Sequences: 4, UBatch: 64})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.grow("prompts of different lengths", map[int32][]int32{0: text(40, 1), 1: text(3, 2), 3: text(90, 3)}); err != nil {
		return err
	}
	if err := s.grow("one token each", map[int32][]int32{0: {7}, 1: {8}, 3: {9}}); err != nil {
		return err
	}
	return s.grow("a late prompt beside steps", map[int32][]int32{0: {17}, 1: {18}, 2: text(20, 4), 3: {19}})
}

// forks copies a text four times and goes on with each differently, drops one and forks another in its place.
// Windows move on over what the copies share.
func forks(f testfamily.Family, m *llama.Model) (err error) {
	s, err := open(m, &oracle{m: m}, llama.ContextParams{Ctx: 512, Sequences: 6})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.grow("prompt", map[int32][]int32{0: text(40, 1)}); err != nil {
		return err
	}
	for to := int32(1); to <= 4; to++ {
		if err := s.fork(0, to); err != nil {
			return err
		}
	}
	for step := range int32(2 * testfamily.WindowSize) {
		more := map[int32][]int32{}
		for seq := range s.texts {
			more[seq] = []int32{5 + (step*7+seq*11)%40}
		}
		if err := s.grow("forks", more); err != nil {
			return err
		}
		switch step {
		case 5: // one goes, and a fork of a fork takes its place
			if err := s.fork(3, 1); err != nil {
				return err
			}
		case 9:
			if err := errors.Join(s.Drop(0), s.fork(4, 5)); err != nil {
				return err
			}
			delete(s.texts, 0)
		}
	}
	if f.Memory == testfamily.Window {
		return longForks(m)
	}
	return nil
}

// longForks forks a prompt that fills the cells of the windows, more than once around, in an engine whose context holds
// it and what follows with ease.
func longForks(m *llama.Model) (err error) {
	e, err := engine.New(m, engine.Params{Ctx: 2048, Sequences: 5, Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	o := &oracle{m: m}
	prompt := text(1200, 1)
	return e.Run(context.Background(), []engine.Job{{Sequences: 5, Cells: 2000, Run: func(s *engine.Session) error {
		root, err := s.Prefill(prompt, 1)
		if err != nil {
			return err
		}
		seqs, texts := []*engine.Seq{root}, [][]int32{prompt}
		for range 4 {
			q, err := s.Fork(root)
			if err != nil {
				return err
			}
			seqs, texts = append(seqs, q), append(texts, prompt)
		}
		for step := range int32(150) {
			tokens := make([]int32, len(seqs))
			for i := range seqs {
				tokens[i] = 5 + (step*7+int32(i)*11)%40
				texts[i] = append(slices.Clip(texts[i]), tokens[i])
			}
			if err := s.Step(seqs, tokens); err != nil {
				return err
			}
			for i, q := range seqs {
				if step%50 != 49 {
					continue
				}
				want, err := o.row(texts[i])
				if err != nil {
					return err
				}
				if err := want.compare(fmt.Sprintf("fork %d of a long prompt", i), q.Row().Logits, nil); err != nil {
					return err
				}
			}
		}
		return nil
	}}})
}

// trims cuts a text's end off and goes on otherwise. Where that is refused, the text goes on as it was.
func trims(f testfamily.Family, m *llama.Model) (err error) {
	s, err := open(m, &oracle{m: m}, llama.ContextParams{Ctx: 512, Sequences: 2})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.grow("prompt", map[int32][]int32{0: text(60, 1)}); err != nil {
		return err
	}
	if err := s.fork(0, 1); err != nil {
		return err
	}
	if err := s.Trim(0, 60); err != nil { // nothing to cut
		return fmt.Errorf("%w: %w", errDiffers, err)
	}
	refused := s.Trim(0, 50)
	if refused == nil {
		s.texts[0] = s.texts[0][:50]
	}
	if err := s.grow("after a cut", map[int32][]int32{0: {9, 8, 7}, 1: {6}}); err != nil {
		return err
	}
	if f.Memory == testfamily.Window {
		return longTrims(m)
	}
	return refused
}

// longTrims cuts a text whose windows' cells have been used again: by a little, and by more than they remember.
func longTrims(m *llama.Model) (err error) {
	s, err := open(m, &oracle{m: m}, llama.ContextParams{Ctx: 1024, Sequences: 1, UBatch: 64})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.grow("a long prompt", map[int32][]int32{0: text(600, 1)}); err != nil {
		return err
	}
	if err := s.Trim(0, 598); err != nil {
		return fmt.Errorf("%w: %w", errDiffers, err)
	}
	s.texts[0] = s.texts[0][:598]
	if err := s.grow("after a small cut", map[int32][]int32{0: {9, 8, 7}}); err != nil {
		return err
	}
	refused := s.Trim(0, 100)
	if refused == nil {
		s.texts[0] = s.texts[0][:100]
	}
	if err := s.grow("after a large cut", map[int32][]int32{0: {9, 8, 7}}); err != nil {
		return err
	}
	return partly{refused}
}

// partly is what is refused of something that else is done.
type partly struct{ error }

// saves takes a forked text up in another context.
func saves(f testfamily.Family, m *llama.Model) (err error) {
	o := &oracle{m: m}
	p := llama.ContextParams{Ctx: 512, Sequences: 4}
	from, err := open(m, o, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := open(m, o, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := from.grow("prompt", map[int32][]int32{0: text(40, 1)}); err != nil {
		return err
	}
	if err := from.fork(0, 2); err != nil {
		return err
	}
	if err := from.grow("fork", map[int32][]int32{2: {9}}); err != nil {
		return err
	}
	if err := to.grow("another text", map[int32][]int32{0: text(10, 5), 1: text(30, 6)}); err != nil {
		return err
	}
	for seq, dest := range map[int32]int32{0: 3, 2: 1} {
		data, err := from.SaveSequence(seq)
		if err != nil {
			return err
		}
		if err := to.RestoreSequence(dest, data); err != nil {
			return err
		}
		to.texts[dest] = from.texts[seq]
	}
	return to.grow("restored", map[int32][]int32{0: {5}, 1: {6, 7}, 3: {8}})
}

// states reads two layers: after tokens with logits, and of whole prompts without; in micro-batches that mix texts.
func states(f testfamily.Family, m *llama.Model) error {
	last := m.Info().Layers
	for _, layers := range [][]int{{0, last}, {1, 0}} {
		if err := statesOf(m, layers); err != nil {
			return fmt.Errorf("layers %v: %w", layers, err)
		}
	}
	return nil
}

func statesOf(m *llama.Model, layers []int) (err error) {
	s, err := open(m, &oracle{m: m, layers: layers}, llama.ContextParams{Ctx: 512, Sequences: 5, UBatch: 32})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	prompts := map[int32][]int32{0: text(30, 1), 4: text(7, 2), 2: text(45, 3), 1: text(30, 4)}
	order := []int32{4, 0, 2, 1} // no order in which llama.cpp would compute them
	inner := slices.Max(layers) < m.Info().Layers-1
	kept := map[int32][]int{}
	for _, seq := range order {
		for i, token := range prompts[seq] {
			add := func() (int, error) { return s.Add(token, int32(i), seq, true, 1) }
			if inner && i%3 > 0 {
				add = func() (int, error) { return s.AddKept(token, int32(i), seq) }
			}
			k, err := add()
			if err != nil {
				return err
			}
			kept[seq] = append(kept[seq], k)
		}
		s.texts[seq] = prompts[seq]
	}
	if err := s.Decode(); err != nil {
		return err
	}
	for seq, indices := range kept {
		want, err := rows(m, layers, prompts[seq])
		if err != nil {
			return err
		}
		for i, k := range indices {
			var got []float32
			if inner && i%3 > 0 {
				got, err = s.Kept(k)
			} else {
				var r llama.Row
				r, err = s.Row(k)
				got = r.States
			}
			if err != nil {
				return err
			}
			if err := compare(fmt.Sprintf("sequence %d: states after %d tokens", seq, i+1), got, want[i].states); err != nil {
				return err
			}
		}
	}
	if err := s.fork(2, 3); err != nil {
		return err
	}
	for step := range int32(4) {
		if err := s.grow("steps", map[int32][]int32{0: {5 + step}, 3: {9, 4}, 1: {11 + step}, 2: {13}, 4: {15 + step, 7, 6}}); err != nil {
			return err
		}
	}
	return nil
}
