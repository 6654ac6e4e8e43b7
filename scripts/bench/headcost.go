package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// What is decoded while the head's cost is measured.
const (
	sequences    = 8
	promptTokens = 256
	newTokens    = 32
	candidates   = 20 // of the one-pass head and of tokenwise guidance
)

// lane is a way to decode the same request; lanes take their steps in turns.
type lane struct {
	threads int
	layers  []int
	value   value.Source
	times   []float64 // seconds a step

	resume, stepped chan struct{}
	err             error // once stepped is closed
}

// headCost measures what the default head adds to a decoding step of the random model.
func headCost(ctx context.Context, b *bench) error {
	path, err := randomModel(b.cache)
	if err != nil {
		return err
	}
	return withModel(path, func(m *llama.Model) error {
		layers := loop.Defaults(m.Info().Layers).Layers
		head, err := untrained(ctx, m, layers, false)
		if err != nil {
			return err
		}
		ahead, err := untrained(ctx, m, layers, true)
		if err != nil {
			return err
		}
		var lanes []*lane
		for _, l := range []lane{{}, {layers: layers}, {layers: layers, value: value.Head(head, valuehead.Reading{})}} {
			l.threads = b.threads
			lanes = append(lanes, &l)
		}
		width := len(layers) * m.Info().Width
		own := []*headAlone{{head: head, width: width}, {head: ahead, width: width}}
		for round := range max(b.pairs/3, 1) {
			if err := lockstep(ctx, m, lanes, uint64(round), own); err != nil {
				return err
			}
		}
		fmt.Printf("%-16s %-50s %9s %9s  %-22s %s\n", "model", "head", "a step", "head", "head, of a step [95 %]", "speed with it [95 %]")
		step := lanes[1].times
		for i, name := range []string{"", ", one-pass"} {
			with, h := "-", own[i].head
			if i == 0 {
				with = share(step, lanes[2].times)
			}
			fmt.Printf("%-16s %-50s %6.1f ms %6.3f ms  %-22s %s\n", m.Info().Desc,
				fmt.Sprintf("%s%s, %d atoms, %d parameters", h.Kind(), name, h.Shape().Atoms, h.Parameters()),
				1e3*median(step), 1e3*median(own[i].times), share(own[i].times, step), with)
		}
		fmt.Printf("%d sequences, a prompt of %d tokens, layers %v. Head: Push and Values of all sequences after a step; one-pass: the values of %d candidates each, and Push.\n", sequences, promptTokens, layers, candidates)
		fmt.Printf("Speed with it: of decoding with every state valued, as a share of that without values, both with the layers tapped, whose own speed is %s of sampling alone.\n", share(lanes[0].times, step))
		return nil
	})
}

// untrained is a recall head, as good as random; with ahead one that values
// tokens before they are fed.
func untrained(ctx context.Context, m *llama.Model, layers []int, ahead bool) (*valuehead.Head, error) {
	s, err := rollout.Schema(m, layers, false)
	if err != nil {
		return nil, err
	}
	const kind = valuehead.Recall // the dearest of those that auto tries
	features, shape := valuehead.FeaturesOf(kind), valuehead.Shape{Hidden: 128}
	if ahead {
		features, shape.Embedding = valuehead.CandidateFeatures(s), 32
	}
	f, err := valuehead.NewFeatures(s, features)
	if err != nil {
		return nil, err
	}
	data := valuehead.NewDataset(f)
	for i := range 20 {
		const n = 4
		p := &states.Prompt{ID: fmt.Sprint(i), Tokens: make([]int32, n), Hidden: random(n * s.PromptWidth())}
		t := &states.Trajectory{Prompt: p.ID, Tokens: make([]int32, n), Hidden: random(n * s.Width), Scalars: random(n * len(s.Scalars))}
		if err := data.AddExample(valuehead.Example{Trajectory: t, Return: float32(i), Prompt: p}); err != nil {
			return nil, err
		}
	}
	h, _, err := valuehead.Train(ctx, data, valuehead.TrainOptions{Kind: kind, Shape: shape, Epochs: 1})
	return h, err
}

// headAlone times the head's work of a step.
type headAlone struct {
	head     *valuehead.Head
	width    int
	memories []*valuehead.Memory
	hidden   [][]float32
	scalars  [][]float32
	known    [][]float32 // scalars of the candidates
	times    []float64
}

// begin starts the responses to a prompt.
func (a *headAlone) begin(prompt []int32) error {
	m, err := a.head.Begin(&states.Prompt{Tokens: prompt, Hidden: random(len(prompt) * a.width)})
	if err != nil {
		return err
	}
	a.memories, a.hidden, a.scalars, a.known = nil, nil, nil, nil
	for range sequences {
		a.memories = append(a.memories, m.Clone())
		a.hidden, a.scalars = append(a.hidden, random(a.width)), append(a.scalars, random(len(value.Scalars)))
		a.known = append(a.known, random(candidates*len(value.Scalars)))
	}
	return nil
}

// step takes token n of every response, and values it or, before, its candidates.
func (a *headAlone) step(prompt []int32, n int) error {
	tokens, values := make([]int32, sequences), make([]float32, sequences)
	others, out := make([][]int32, sequences), make([][]float32, sequences)
	for i := range tokens { // tokens of the prompt, whose matches grow
		at := (i*17 + n) % (len(prompt) - candidates)
		tokens[i], others[i], out[i] = prompt[at], prompt[at:at+candidates], make([]float32, candidates)
	}
	begin := time.Now()
	var err error
	if a.head.CanScoreCandidates() {
		err = a.head.CandidatesOf(a.memories, others, a.known, valuehead.Reading{}, out)
	}
	if err == nil {
		err = a.head.Push(a.memories, tokens, a.hidden, a.scalars)
	}
	if err == nil && !a.head.CanScoreCandidates() {
		err = a.head.Values(a.memories, valuehead.Reading{}, values)
	}
	if n > 0 { // as of the lanes
		a.times = append(a.times, time.Since(begin).Seconds())
	}
	return err
}

// lockstep decodes a prompt in all lanes, one step of each in turn, and has the
// heads work on their own after each round.
func lockstep(ctx context.Context, m *llama.Model, lanes []*lane, key uint64, own []*headAlone) error {
	prompt := make([]int32, promptTokens)
	for i := range prompt {
		prompt[i] = int32(300 + i*37%500)
	}
	for _, a := range own {
		if err := a.begin(prompt); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, l := range lanes {
		l.resume, l.stepped = make(chan struct{}), make(chan struct{})
		wg.Go(func() {
			defer close(l.stepped)
			l.wait(ctx)
			l.err = l.run(ctx, m, prompt, key)
		})
	}
	for step := range newTokens {
		for k := range lanes {
			l := lanes[(k+step)%len(lanes)]
			begin := time.Now()
			if err := l.step(ctx); err != nil {
				return err
			}
			if step > 0 { // the first holds the prompt
				l.times = append(l.times, time.Since(begin).Seconds())
			}
		}
		for _, a := range own {
			if err := a.step(prompt, step); err != nil {
				return err
			}
		}
	}
	return nil
}

// wait blocks until it is the lane's turn.
func (l *lane) wait(ctx context.Context) {
	select {
	case <-l.resume:
	case <-ctx.Done():
	}
}

// step gives the lane its turn, for a step.
func (l *lane) step(ctx context.Context) error {
	select {
	case l.resume <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if _, ok := <-l.stepped; !ok {
		return cmp.Or(l.err, errors.New("the responses ended early"))
	}
	return nil
}

// run samples responses, and waits for its turn after every step.
func (l *lane) run(ctx context.Context, m *llama.Model, prompt []int32, key uint64) error {
	const most = newTokens + 2 // the last step is not one of those measured
	e, err := engine.New(m, engine.Params{Ctx: promptTokens + sequences*most, Sequences: sequences, Threads: l.threads, Layers: l.layers})
	if err != nil {
		return err
	}
	defer e.Close()
	job, err := decode.Sample(e, decode.Request{
		Prompt: prompt, MaxTokens: most, Sampling: policy.Sampling{Temp: 1}, Key: key, Value: l.value, EachValue: l.value != nil,
		Progress: func(int) {
			select {
			case l.stepped <- struct{}{}:
			case <-ctx.Done():
			}
			l.wait(ctx)
		},
	}, sequences, func([]decode.Response) {})
	if err != nil {
		return err
	}
	return e.Run(ctx, []engine.Job{job})
}
