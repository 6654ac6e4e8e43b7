package pairwise

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sort"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// source is some of the pairs as examples for a value head that looks back at the prompt: the head's
// value of a whole answer is the reward.
type source struct {
	data     *Data
	layers   []int // numbers of stored ones
	features *valuehead.Features
	pairs    []int // numbers of pairs
	margin   []float64

	last int // one more than the number of the shard that was read last: neighbours lie in one
	read [][2]head.States
}

// sourceOf are the pairs of the trainer that some of its numbers name.
func (r *trainer) sourceOf(c candidate, which []int) (*source, error) {
	features, err := valuehead.NewFeatures(head.Schema(r.reading(c).Layers, r.data.width), valuehead.FeaturesOf(valuehead.Recall))
	if err != nil {
		return nil, err
	}
	s := &source{data: r.data, layers: c.layers, features: features}
	for _, k := range which {
		s.pairs, s.margin = append(s.pairs, r.train[k]), append(s.margin, r.margin[k])
	}
	return s, nil
}

func (s *source) Features() *valuehead.Features { return s.features }

func (s *source) Len() int { return len(s.pairs) }

func (s *source) At(i int) (valuehead.Example, error) {
	pair := s.pairs[i]
	shard := sort.SearchInts(s.data.first, pair+1) - 1
	if s.last != shard+1 {
		var err error
		if s.read, err = s.data.load(shard, s.layers, true); err != nil {
			return valuehead.Example{}, err
		}
		s.last = shard + 1
	}
	sides := s.read[pair-s.data.first[shard]]
	// Names tell prompts apart in all shards; one of both sides' is as good as the other's.
	name := s.data.Pairs[pair].Prompt.Content()
	answer := func(s head.States) *states.Trajectory {
		return &states.Trajectory{Prompt: name, Tokens: s.Tokens, Hidden: s.Hidden}
	}
	return valuehead.Example{Trajectory: answer(sides[chosen]), Rival: answer(sides[rejected]), Prompt: sides[chosen].Prompt, Margin: float32(s.margin[i])}, nil
}

// recallLayers are those that heads read which look back: the first of the model's that is stored, and
// the one nearest to three fifths of the way up, as value heads do.
func (r *trainer) recallLayers() []int {
	first := -1
	near := 0
	for i, l := range r.data.layers {
		if l == head.Embeddings {
			continue
		}
		if first < 0 {
			first, near = i, i
		}
		if way := r.depth * 3 / 5; max(l-way, way-l) < max(r.data.layers[near]-way, way-r.data.layers[near]) {
			near = i
		}
	}
	return slices.Compact([]int{first, near})
}

var errNoPrompts = fault.New(op, "layers", nil, "store layers above the embeddings, and the prompts with them", "a head that looks back at the prompt needs its states, which are not stored")

// recallEpochs is the most passes of heads that look back unless another number is asked for.
const recallEpochs = 8

// tryRecall tries a head that looks back at the prompt, a sum over the answer's tokens, for as many
// epochs as serve the folds best. Where no other kind is tried the epochs alone are to be chosen, which
// one of the folds can do.
func (r *trainer) tryRecall(ctx context.Context) (*fitted, error) {
	if !r.data.schema.Prompts {
		return nil, errNoPrompts
	}
	c := candidate{Recall, r.recallLayers(), head.Recall}
	states := 0
	for _, i := range r.train {
		states += r.tokens[chosen][i] + r.tokens[rejected][i]
	}
	o := valuehead.TrainOptions{
		Kind: valuehead.Recall, Shape: valuehead.Shape{Advantages: true}, Noise: r.Noise, Epochs: cmp.Or(r.asked, recallEpochs),
		Batch: min(1024, max(128, states/40)), Seed: r.Seed, Workers: r.Workers,
	}
	tried := folds
	if r.Kind == Recall {
		tried = 1
	}
	// The differences of pairs' rewards after each epoch, by heads that were not trained on them.
	after := make([][]float64, o.Epochs)
	for k := range tried {
		var in, out []int
		for i, f := range r.fold {
			if f == k {
				out = append(out, i)
			} else {
				in = append(in, i)
			}
		}
		from, err := r.sourceOf(c, in)
		if err != nil {
			return nil, err
		}
		others, err := r.sourceOf(c, out)
		if err != nil {
			return nil, err
		}
		if _, err := valuehead.TrainPreferences(ctx, from, o, func(h *valuehead.Head, epoch int) (bool, error) {
			for i := range out {
				d, err := difference(h, others, i)
				if err != nil {
					return true, err
				}
				after[epoch-1] = append(after[epoch-1], d)
			}
			return false, nil
		}); err != nil {
			return nil, err
		}
	}
	f := best(after, r.Noise)
	f.Name, f.candidate = r.name(c), c
	f.fit = func(ctx context.Context) (*head.Head, error) {
		all := make([]int, len(r.train))
		for i := range all {
			all[i] = i
		}
		from, err := r.sourceOf(c, all)
		if err != nil {
			return nil, err
		}
		v, err := valuehead.TrainPreferences(ctx, from, o, func(_ *valuehead.Head, epoch int) (bool, error) { return epoch == f.Epochs, nil })
		if err != nil {
			return nil, err
		}
		read := r.reading(c)
		read.Recall = v
		return &head.Head{Reading: read, Layers: []head.Layer{{In: 1, Out: 1, Weight: []float32{1}, Bias: []float32{0}}}}, nil
	}
	return f, nil
}

// difference is that of a pair's rewards.
func difference(h *valuehead.Head, s *source, i int) (float64, error) {
	e, err := s.At(i)
	if err != nil {
		return 0, err
	}
	won, err := h.Worth(e)
	if err != nil {
		return 0, err
	}
	e.Trajectory = e.Rival
	lost, err := h.Worth(e)
	return float64(won) - float64(lost), err
}

// best is the trial of the epoch after which differences of rewards predict best.
func best(after [][]float64, noise float64) *fitted {
	f := &fitted{Trial: Trial{LogLoss: math.Inf(1)}}
	for e, differences := range after {
		if loss, accuracy := judged(differences, noise); loss < f.LogLoss {
			f.LogLoss, f.Accuracy, f.Epochs = loss, accuracy, e+1
		}
	}
	return f
}
