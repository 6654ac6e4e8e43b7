package engine_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/internal/testfamily"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
)

const system = "you sum up what people say in a few words. yesterday i found a red lamp and sold it to my cousin at work.\n"

// lists runs the prompts as one list of jobs, with their states where these are wanted.
func lists(t testing.TB, e *engine.Engine, prompts [][]int32, wantStates bool, n int) (out []output, states [][]float32) {
	t.Helper()
	out, states = make([]output, len(prompts)), make([][]float32, len(prompts))
	var jobs []engine.Job
	for i, p := range prompts {
		jobs = append(jobs, engine.Job{Sequences: 1, Cells: len(p) + n, Prompt: p, PromptStates: wantStates, Run: func(s *engine.Session) (err error) {
			if wantStates {
				var q *engine.Seq
				if q, states[i], err = s.PrefillStates(p, 1); err != nil {
					return err
				}
				s.Drop(q)
			}
			out[i].tokens, out[i].logps, err = greedy(s, p, n)
			return err
		}})
	}
	if err := e.Run(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	if err := e.Audit(); err != nil {
		t.Error(err)
	}
	return out, states
}

// What all prompts of a list begin with is decoded once, for as many sequences at once as before, and they
// give what each gives alone. A list done again, whatever came between, is the same to the bit.
func TestSharedPrefix(t *testing.T) {
	const n = 8
	alone := exact
	alone.Layers = []int{0, 3}
	one := open(t, alone)
	first := tokenize(t, one, system)
	var all [][]int32
	rest := 0
	for _, p := range prompts[:5] {
		all = append(all, slices.Concat(first, tokenize(t, one, p)[1:]))
		rest += len(all[len(all)-1]) - len(first)
	}
	all, rest = append(all, slices.Concat(first, first[1:])), rest+len(first)-1 // the longest
	longest := len(all[len(all)-1])
	for name, c := range map[string]struct {
		p      engine.Params
		states bool
		most   int // sequences at once
	}{
		"together":    {p: engine.Params{Sequences: 6}, most: 6},
		"states":      {p: engine.Params{Sequences: 6, Layers: alone.Layers}, states: true, most: 6},
		"last layer":  {p: engine.Params{Sequences: 6, Layers: []int{3, 5}}, most: 6},
		"two at once": {p: engine.Params{Sequences: 2, Ctx: 512}, most: 2},
		"small batch": {p: engine.Params{Sequences: 6, Batch: 8}, most: 6},
		"tight":       {p: engine.Params{Sequences: 6, Ctx: 256}, most: 6},
		"all of them": {p: engine.Params{Sequences: llama.MaxSequences}, most: 6},
	} {
		most, tokens := 0, 0
		c.p.Threads, c.p.Flash, c.p.CacheK, c.p.CacheV = exact.Threads, exact.Flash, exact.CacheK, exact.CacheV
		c.p.Observe = func(b engine.Batch) {
			tokens += len(b.Tokens)
			if !slices.ContainsFunc(b.Tokens, func(t engine.Token) bool { return !t.Output }) {
				most = max(most, len(b.Tokens))
			}
		}
		e := open(t, c.p)
		got, states := lists(t, e, all, c.states, n)
		prompts := 1 // times that each is given
		if c.states {
			prompts = 2
		}
		if want := len(first) + prompts*rest + n*len(all); tokens != want && c.p.Sequences < llama.MaxSequences || e.Stats().Tokens != tokens || most != c.most {
			t.Errorf("%s: %d tokens decoded, want %d, counted %d; %d sequences at once, want %d", name, tokens, want, e.Stats().Tokens, most, c.most)
		}
		for i, p := range all {
			want, wantStates := lists(t, one, [][]int32{p}, c.states, n)
			if !slices.Equal(got[i].tokens, want[0].tokens) || furthest(got[i].logps, want[0].logps) > 1e-3 {
				t.Errorf("%s: prompt %d gave %v %v, alone %v %v", name, i, got[i].tokens, got[i].logps, want[0].tokens, want[0].logps)
			}
			if c.states && (len(states[i]) != len(wantStates[0]) || furthest(states[i], wantStates[0]) > 1e-4) {
				t.Errorf("%s: the states of prompt %d are not those alone", name, i)
			}
		}
		lists(t, e, all[2:4], false, 3)
		if err := e.Do(t.Context(), engine.Job{Sequences: 1, Cells: longest + n, Prompt: all[1], Run: func(s *engine.Session) error {
			_, _, err := greedy(s, all[1], n)
			return err
		}}); err != nil {
			t.Fatal(err)
		}
		again, _ := lists(t, e, all, c.states, n)
		for i := range all {
			if !slices.Equal(got[i].tokens, again[i].tokens) || !slices.Equal(got[i].logps, again[i].logps) {
				t.Errorf("%s: prompt %d differs the second time", name, i)
			}
		}
	}
}

// Prompts that have too little in common, one that ends where the others go on, and jobs of which nobody
// knows the prompts are decoded as they are.
func TestNothingShared(t *testing.T) {
	e := open(t, exact)
	first := tokenize(t, e, system)
	for name, list := range map[string][][]int32{
		"alone":   {first},
		"another": {first, first[1:]},
		"short":   {first[:12], slices.Concat(first[:12], first[3:9])},
		"unknown": {first, first, nil},
	} {
		var jobs []engine.Job
		want := 0
		for i, p := range list {
			given := p
			if given == nil {
				given = list[i-1]
			}
			want += len(given)
			jobs = append(jobs, engine.Job{Sequences: 1, Cells: len(given), Prompt: p, Run: func(s *engine.Session) error {
				_, err := s.Prefill(given, 1)
				return err
			}})
		}
		before := e.Stats()
		if err := e.Run(t.Context(), jobs); err != nil {
			t.Fatal(err)
		}
		if after := e.Stats(); after.Tokens-before.Tokens != want || after.Reused != before.Reused {
			t.Errorf("%s: %d tokens decoded, %d reused; want %d and none", name, after.Tokens-before.Tokens, after.Reused-before.Reused, want)
		}
	}
}

// So it is for models whose memory is a state a sequence, a window, or both: what is shared is copied whole.
func TestSharedPrefixOfFamilies(t *testing.T) {
	const n = 4
	tried := 0
	for _, family := range testfamily.Families {
		path := filepath.Join(t.TempDir(), family.Architecture+".gguf")
		if err := family.Write(path, 1); err != nil {
			t.Fatal(err)
		}
		m, err := llama.Load(path, llama.ModelParams{})
		if err != nil {
			continue // this llama.cpp does not know it
		}
		tried++
		p := exact
		p.Sequences, p.Ctx = 4, 512
		var engines [2]*engine.Engine
		for i := range engines {
			if engines[i], err = engine.New(m, p); err != nil {
				t.Fatal(err)
			}
		}
		first := make([]int32, 40)
		for i := range first {
			first[i] = int32(3 + (i*i+7*i)%(m.Info().Vocab-3))
		}
		var all [][]int32
		for i := range 5 {
			all = append(all, slices.Concat(first, first[2*i:3*i+1]))
		}
		got, _ := lists(t, engines[0], all, false, n)
		if s := engines[0].Stats(); s.Reused != len(all)*len(first) && s.Reused != len(all)*(len(first)+1) {
			t.Errorf("%s: %d tokens of prompts were shared", family.Architecture, s.Reused)
		}
		for i, p := range all {
			want, _ := lists(t, engines[1], [][]int32{p}, false, n)
			if !slices.Equal(got[i].tokens, want[0].tokens) || furthest(got[i].logps, want[0].logps) > 1e-3 {
				t.Errorf("%s: prompt %d gave %v %v, alone %v %v", family.Architecture, i, got[i].tokens, got[i].logps, want[0].tokens, want[0].logps)
			}
		}
		if err := errors.Join(engines[0].Close(), engines[1].Close(), m.Close()); err != nil {
			t.Error(err)
		}
	}
	if tried < 10 {
		t.Errorf("%d architectures are known", tried)
	}
}
