package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
)

// heads are the value functions that are compared, all of one kind and size, trained on the
// states of round 1: what they differ in is the target.
type heads struct {
	ivo1, ivo2 *valuehead.Head // Monte Carlo returns, rounds 1 and 2
	onePass    *valuehead.Head // the same as ivo2, valuing tokens before they are fed
	fudge, vas *valuehead.Head
}

func trainHeads(ctx context.Context, dir, out string, o *loop.Options) (h heads, err error) {
	load := func(round int) (*valuehead.Head, error) {
		return valuehead.Load(filepath.Join(dir, fmt.Sprintf("iter-%02d", round), "head.gguf"))
	}
	if h.ivo1, err = load(1); err != nil {
		return h, err
	}
	if h.ivo2, err = load(o.Rounds); err != nil {
		return h, err
	}
	first, err := loop.Data(dir, 1, "")
	if err != nil {
		return h, err
	}
	all, err := loop.Data(dir, 0, "")
	if err != nil {
		return h, err
	}
	schema := h.ivo1.Features().Schema()
	for _, t := range []struct {
		name    string
		head    **valuehead.Head
		data    *learn.Data
		target  valuehead.Target
		onePass bool
	}{
		{"one-pass", &h.onePass, all, valuehead.MonteCarloReturn, true},
		{"fudge", &h.fudge, first, valuehead.FUDGE, false},
		{"vas", &h.vas, first, valuehead.TDLambda, false},
	} {
		path := filepath.Join(out, t.name+".gguf")
		if *t.head, err = valuehead.Load(path); err == nil {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return h, err
		}
		options := valuehead.TrainOptions{
			Kind: valuehead.Recall, Shape: valuehead.Shape{Atoms: o.Head.Atoms, Match: valuehead.Match(o.Head.Match)}, Epochs: o.Head.Epochs, Rate: o.Head.Rate, Seed: o.Seed, Target: t.target,
			Progress: func(p valuehead.Progress) {
				fmt.Fprintf(os.Stderr, "\r\x1b[Ktrain %s: step %d of %d, held-out R^2 %.2f", t.name, p.Step, p.Steps, p.HeldOutR2)
			},
		}
		layout := valuehead.FeaturesOf(valuehead.Recall)
		if t.onePass {
			layout = valuehead.CandidateFeatures(schema)
			options.Shape.Embedding = 32
		}
		if *t.head, _, err = learn.Train(ctx, t.data, layout, options); err != nil {
			return h, err
		}
		fmt.Fprint(os.Stderr, "\r\x1b[K")
		if err := (*t.head).Save(path); err != nil {
			return h, err
		}
	}
	return h, nil
}

// methods are the rows of the table, the base policy first.
func methods(o *loop.Options, rm reward.Model, h heads) (out []eval.Method) {
	add := func(name string, s decode.Strategy, source value.Source) {
		out = append(out, eval.Method{Name: name, Policy: batch.Policy{Strategy: s, Value: source, Sampling: o.Sampling, MaxTokens: o.MaxTokens, Stop: o.Stop}})
	}
	// The reward itself, on a response that is not finished: ARGS, and the best that
	// ranking whole samples can do.
	byReward := func(name string, s decode.Strategy) {
		add(name, s, nil)
		out[len(out)-1].ValueBy = rm
	}
	var mean valuehead.Reading
	sample := decode.Strategy{Method: decode.MethodSample}
	add("base", sample, nil)
	for _, t := range []float64{0.5, 0.35, 0.2, 0.1, 0} {
		name := fmt.Sprintf("temperature %g", t)
		if t == 0 {
			name = "greedy decoding"
		}
		add(name, sample, nil)
		m := &out[len(out)-1]
		m.Reference, m.Sampling.Temp = &o.Sampling, t
	}
	for _, n := range []int{4, 16} {
		best := decode.Strategy{Method: decode.MethodBestOfN, N: n}
		add(fmt.Sprintf("best-of-%d, IVO", n), best, value.Head(h.ivo2, mean))
		byReward(fmt.Sprintf("best-of-%d, the reward", n), best)
	}
	for _, b := range [][2]int{{2, 4}, {3, 4}, {4, 4}, {4, 2}} {
		beam := decode.Strategy{Method: decode.MethodBlockBeam, Beam: decode.Beam{Beams: b[0], Block: b[1]}}
		add(fmt.Sprintf("block-beam B=%d b=%d, IVO*", b[0], b[1]), beam, value.Head(h.ivo1, mean))
		add(fmt.Sprintf("block-beam B=%d b=%d, IVO", b[0], b[1]), beam, value.Head(h.ivo2, mean))
	}
	for _, k := range []int{4, 16} {
		best := decode.Strategy{Method: decode.MethodBlockBestOfK, N: k, Beam: decode.Beam{Block: 4}}
		add(fmt.Sprintf("block-best-of-%d b=4, IVO", k), best, value.Head(h.ivo2, mean))
	}
	guide := func(m decode.Method, beta float64, rest decode.Rest, block int) decode.Strategy {
		return decode.Strategy{Method: m, RawBeta: true, Guide: decode.Guide{TopK: 20, Beta: beta, Rest: rest}, Beam: decode.Beam{Block: block}}
	}
	for _, beta := range []float64{0.5, 1, 2, 4, 8} {
		add(fmt.Sprintf("tokenwise beta=%g, IVO", beta), guide(decode.MethodTokenwise, beta, decode.RestParent, 0), value.Head(h.ivo2, mean))
		add(fmt.Sprintf("one-pass beta=%g, IVO", beta), guide(decode.MethodOnePass, beta, decode.RestParent, 0), value.Head(h.onePass, mean))
		add(fmt.Sprintf("tokenwise beta=%g, IVO soft", beta), guide(decode.MethodTokenwise, beta, decode.RestParent, 0), value.Head(h.ivo2, valuehead.Reading{Beta: beta}))
		add(fmt.Sprintf("one-pass beta=%g, IVO soft", beta), guide(decode.MethodOnePass, beta, decode.RestParent, 0), value.Head(h.onePass, valuehead.Reading{Beta: beta}))
		add(fmt.Sprintf("tokenwise beta=%g, IVO*", beta), guide(decode.MethodTokenwise, beta, decode.RestParent, 0), value.Head(h.ivo1, mean))
		add(fmt.Sprintf("tokenwise beta=%g, FUDGE", beta), guide(decode.MethodTokenwise, beta, decode.RestNone, 0), value.Head(h.fudge, mean))
		add(fmt.Sprintf("tokenwise beta=%g, VAS", beta), guide(decode.MethodTokenwise, beta, decode.RestMean, 0), value.Head(h.vas, mean))
		for _, b := range []int{2, 4} {
			add(fmt.Sprintf("block-sampling b=%d beta=%g, IVO", b, beta), guide(decode.MethodBlockSampling, beta, decode.RestParent, b), value.Head(h.ivo2, mean))
		}
		byReward(fmt.Sprintf("greedy guided beta=%g, ARGS (the reward)", beta), guide(decode.MethodGreedy, beta, decode.RestNone, 0))
		add(fmt.Sprintf("greedy guided beta=%g, IVO", beta), guide(decode.MethodGreedy, beta, decode.RestNone, 0), value.Head(h.ivo2, mean))
	}
	return out
}
