package pairwise

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// FineTuning says how a trunk is trained whole, with a linear head on its final states.
type FineTuning struct {
	Pooling head.Pooling    // Last or Mean; "" for Last
	Type    gguf.TensorType // that the trunk is written as: F32 or F16
	HeldOut float64         // share of the prompts that the reward is measured on; 0 for .2
	Margins float64         // what a pair's margin counts for, in units of the reward; 0 for nothing
	Longest int             // tokens of a conversation, longer ones are left out; 0 for 1,024
	Epochs  int             // passes over the pairs; 0 for 1
	Rate    float64         // peak learning rate; 0 for what suits the trunk's size
	Rank    int             // of adapters, which are learned instead of the trunk's own matrices; 0 without
	Seed    uint64
	Workers int // 0 for one a core
	// Progress, if set, is told of every step, with the mean losses of its pairs and of some that are
	// held out.
	Progress func(step, steps int, loss, heldOut float64)
}

// Files are those of a head and the trunk that was trained with it.
type Files struct{ Head, Trunk string }

const (
	fineTuneBatch = 4096 // most tokens of a minibatch
	fineTuneSteps = 100  // least steps, for which minibatches become smaller
	watched       = 32   // held-out pairs whose loss is told on the way
	centered      = 256  // training pairs whose mean reward becomes 0
)

// FineTune trains the trunk on the pairs, measures it on those that are held out, and writes it and
// its head. What a training that was stopped has done is kept beside the trunk's file, and the same
// training goes on with it.
func (t Trunk) FineTune(ctx context.Context, pairs []preference.Pair, o FineTuning, to Files) (*Report, error) {
	o.Pooling, o.Longest, o.Epochs = cmp.Or(o.Pooling, head.Last), cmp.Or(o.Longest, 1024), cmp.Or(o.Epochs, 1)
	file := t.Model.Metadata()
	base, err := train.Read(file, func(tensor string) ([]float32, error) { return llama.Weights(file, tensor) })
	if err != nil {
		return nil, &fault.Error{Op: op, Field: "fine_tune", Err: err, Hint: "without {fine_tune} a head is trained on the states of any model"}
	}
	sides, data, err := t.encode(ctx, pairs, o)
	if err != nil {
		return nil, err
	}
	r := &trainer{Options: Options{HeldOut: o.HeldOut, Margins: o.Margins, Seed: o.Seed, Workers: o.Workers}, data: data, tokens: sides.tokens}
	if err := r.part(); err != nil {
		return nil, err
	}
	of := func(numbers []int, margin []float64) (out []train.Pair) {
		for k, i := range numbers {
			out = append(out, train.Pair{Chosen: sides.docs[2*i+chosen], Rejected: sides.docs[2*i+rejected], Offset: margin[k]})
		}
		return out
	}
	learned, watch := of(r.train, r.margin), r.held[:min(watched, len(r.held))]
	rows := 0
	for _, p := range learned {
		rows += len(p.Chosen.Tokens) + len(p.Rejected.Tokens)
	}
	batch := min(fineTuneBatch, max(rows*o.Epochs/fineTuneSteps, 1))
	options := train.Options{
		Steps: rows * o.Epochs / batch, BatchTokens: batch, LR: cmp.Or(o.Rate, base.Config.FineTuneRate(o.Rank > 0)), Rank: o.Rank, Seed: o.Seed,
		Workers: r.Workers, Checkpoint: to.Trunk + ".checkpoint",
	}
	if o.Progress != nil {
		options.Progress = func(p train.Progress) { o.Progress(p.Step, p.Steps, p.Loss, p.HeldOut) }
	}
	m, err := train.TrainReward(ctx, base, options, learned, of(watch, make([]float64, len(watch))))
	if err != nil {
		return nil, err
	}
	center := r.train[:min(centered, len(r.train))]
	rewards, err := sides.rewards(ctx, m, slices.Concat(r.held, center), r.Workers)
	if err != nil {
		return nil, err
	}
	mean := 0.0
	for _, i := range center {
		mean += (rewards[chosen][i] + rewards[rejected][i]) / float64(2*len(center))
	}
	h := &head.Head{
		Trunk:  head.Trunk{Architecture: file.Str("general.architecture"), Width: m.Config.Width, Vocabulary: m.Config.Vocab, Template: t.Template, Norm: m.Norm()},
		Layers: []head.Layer{{In: m.Config.Width, Out: 1, Weight: slices.Clone(m.Output()), Bias: []float32{float32(-mean)}}},
		Source: fmt.Sprintf("Bradley-Terry on %d pairs: fine-tuned with its trunk", len(r.train)),
	}
	if o.Pooling == head.Mean {
		h.Reading = head.Reading{Layers: []int{m.Config.Layers}, Pooling: head.Mean}
	}
	report, err := r.report(ctx, rewards)
	if err != nil {
		return nil, err
	}
	report.Head = Trial{Name: fmt.Sprintf("%s, %d parameters fine-tuned", o.Pooling, m.Config.Params()), LogLoss: report.LogLoss, Accuracy: report.Accuracy.Mean, Epochs: o.Epochs}
	if o.Rank > 0 {
		report.Head.Name = fmt.Sprintf("%s, fine-tuned by adapters of rank %d", o.Pooling, o.Rank)
	}
	if err := m.Trunk().WriteGGUFAs(to.Trunk, o.Type, train.Metadata(file)); err != nil {
		return nil, err
	}
	if err := h.Save(to.Head); err != nil {
		return nil, err
	}
	if err := os.Remove(options.Checkpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is complete, but: %w (remove %s)", to.Head, err, options.Checkpoint)
	}
	return report, nil
}

// sides are the conversations of the pairs, chosen and rejected in turns.
type sides struct {
	docs   []train.Doc
	tokens [2][]int // of the answers
}

// encode makes tokens of the pairs that are not too long, as scoring will show them to the trunk.
func (t Trunk) encode(ctx context.Context, pairs []preference.Pair, o FineTuning) (*sides, *Data, error) {
	reader, err := head.NewReader(t.Model, head.Reading{Layers: []int{t.Model.Info().Layers}, Pooling: head.Mean}, t.Template)
	if err != nil {
		return nil, nil, err
	}
	defer reader.Close()
	most, s, d := min(o.Longest, reader.Limit()), &sides{}, &Data{}
	for _, p := range pairs {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		var docs [2]train.Doc
		var answers [2]int
		fits := true
		for side, text := range []string{p.Chosen, p.Rejected} {
			tokens, from, err := reader.Encode(head.Answer{Prompt: p.Prompt, Response: text})
			if err != nil && !tooLong(err) {
				return nil, nil, unreadable(err)
			}
			if fits = fits && err == nil && len(tokens) <= most; !fits {
				break
			}
			docs[side], answers[side] = train.Doc{Tokens: tokens, Weights: make([]float32, len(tokens))}, len(tokens)-from
			if o.Pooling == head.Last {
				from = len(tokens) - 1
			}
			for i := from; i < len(tokens); i++ {
				docs[side].Weights[i] = 1 / float32(len(tokens)-from)
			}
		}
		if !fits {
			d.Left++
			continue
		}
		d.Pairs = append(d.Pairs, p)
		s.docs = append(s.docs, docs[:]...)
		for side, n := range answers {
			s.tokens[side] = append(s.tokens[side], n)
		}
	}
	if len(d.Pairs) == 0 {
		return nil, nil, fault.New(op, "pairs", nil, "take shorter conversations", "none of %d pairs has at most %d tokens", len(pairs), most)
	}
	return s, d, nil
}

// rewards are the model's of both sides of some pairs.
func (s *sides) rewards(ctx context.Context, m *train.RewardModel, pairs []int, workers int) (out [2][]float64, err error) {
	var docs []train.Doc
	for _, i := range pairs {
		docs = append(docs, s.docs[2*i+chosen], s.docs[2*i+rejected])
	}
	scores, err := m.Scores(ctx, docs, workers)
	for side := range out {
		out[side] = make([]float64, len(s.docs)/2)
		for k, i := range pairs {
			if err == nil {
				out[side][i] = scores[2*k+side]
			}
		}
	}
	return out, err
}
