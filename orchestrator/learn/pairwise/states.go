// Package pairwise learns reward heads from preference pairs, by the model of Bradley and Terry:
// the chosen answer y+ to a prompt x is preferred to the rejected one y- with the probability
//
//	P(y+ > y- | x) = sigma(R(x, y+) - R(x, y-))
//
// of which the head R minimises -log sigma(R(x, y+) - R(x, y-) - m) with the pair's margin m
// (arXiv 2203.02155, 2307.09288). The trunk is left as it is: its states are computed once and
// stored, so that another head costs seconds. The package knows nothing of how answers come about.
package pairwise

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

const op = "train a reward head"

// shardPairs is the number of pairs whose states lie in one file: what an interruption costs.
const shardPairs = 8

// The sides of a pair, as the numbers of its samples in the store.
const chosen, rejected = 0, 1

// Layers are those that states are stored of unless others are asked for: the embeddings, the first
// layer, and those three fifths and four fifths of the way up. docs/log.md has what each gives.
func Layers(m *llama.Model) []int {
	n := m.Info().Layers
	layers := []int{head.Embeddings}
	for _, l := range []int{0, n * 3 / 5, n * 4 / 5} {
		if l > layers[len(layers)-1] {
			layers = append(layers, l)
		}
	}
	return layers
}

// Bare is a chat template that shows texts as they are, one after the other: of prompts that are to
// be gone on from, in a model without a template of its own.
const Bare = "{% for message in messages %}{{ message.content }}{% endfor %}{{ eos_token }}"

// Trunk is the model whose states are learned from, and how answers are shown to it.
type Trunk struct {
	Model    *llama.Model
	Layers   []int  // by rising number, see [Layers]
	Template string // "" for the model's own
	Prompts  bool   // the prompts' own states are stored, too, for heads that look back at them
}

// Data are pairs with the states of their sides.
type Data struct {
	Pairs  []preference.Pair
	Left   int // pairs that are too long for the model
	layers []int
	width  int // of one layer's state
	schema states.Schema
	shards []string // of Pairs, shardPairs each; those that were left out lack in them
	first  []int    // number of the first pair of each shard, and of all pairs
}

// Collect computes the states of the pairs' sides, into files in dir that are named for what is in
// them: what is there already is not computed again. progress is told after each file.
func (t Trunk) Collect(ctx context.Context, dir string, pairs []preference.Pair, progress func(done, of int)) (*Data, error) {
	var readers []*head.Reader
	layers := t.Layers
	if len(layers) > 0 && layers[0] == head.Embeddings { // which are read alone
		layers = layers[1:]
	}
	for i, layers := range [][]int{t.Layers[:len(t.Layers)-len(layers)], layers} {
		if len(layers) == 0 {
			continue
		}
		pooling := head.Mean
		if i == 1 && t.Prompts {
			pooling = head.Recall
		}
		reader, err := head.NewReader(t.Model, head.Reading{Layers: layers, Pooling: pooling}, t.Template)
		if err != nil {
			return nil, err
		}
		defer reader.Close()
		readers = append(readers, reader)
	}
	if readers == nil {
		return nil, fault.New(op, "layers", nil, "name one", "no layers")
	}
	var err error
	d := &Data{layers: t.Layers, width: t.Model.Info().Width}
	// States of some models are beyond half precision.
	d.schema = states.Schema{Layers: t.Layers, Width: len(t.Layers) * d.width, Float: states.BF16}
	if d.schema.Backbone, err = t.Model.Identify(ctx, nil); err != nil {
		return nil, err
	}
	if d.schema.Norms, err = llama.Norms(t.Model.Metadata()); err != nil {
		return nil, err
	}
	if t.Prompts && len(layers) > 0 {
		d.schema.Prompts, d.schema.PromptLayers = true, layers
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, &fault.Error{Op: op, Err: err, Hint: "choose a folder you may write to"}
	}
	for from := 0; from < len(pairs); from += shardPairs {
		some := pairs[from:min(from+shardPairs, len(pairs))]
		path := filepath.Join(dir, name(d.schema, readers[0].Identity(), some)+".states")
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			if err := d.collect(ctx, readers, path, some); err != nil {
				return nil, err
			}
		}
		d.shards = append(d.shards, path)
		if progress != nil {
			progress(from+len(some), len(pairs))
		}
	}
	return d, d.keep(pairs)
}

// name identifies what a shard is of.
func name(schema states.Schema, template string, pairs []preference.Pair) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	enc.Encode([]any{1, schema, template})
	for _, p := range pairs {
		enc.Encode([]string{p.Prompt.Content(), p.Chosen, p.Rejected})
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// collect writes the states of some pairs, those of the readers side by side.
func (d *Data) collect(ctx context.Context, readers []*head.Reader, path string, pairs []preference.Pair) error {
	var answers []head.Answer
	for i, p := range pairs {
		p.Prompt.ID = fmt.Sprint(i)
		answers = append(answers, head.Answer{Prompt: p.Prompt, Response: p.Chosen}, head.Answer{Prompt: p.Prompt, Response: p.Rejected})
	}
	trajectories, prompts := make([]states.Trajectory, len(answers)), make([]states.Prompt, len(answers))
	for _, reader := range readers {
		err := reader.Read(ctx, answers, func(i int, s head.States, err error) error {
			switch {
			case err != nil && !tooLong(err):
				return unreadable(err)
			case err == nil:
				t := &trajectories[i]
				*t = states.Trajectory{Prompt: answers[i].Prompt.ID, Sample: i % 2, Tokens: s.Tokens, Hidden: beside(t.Hidden, s.Hidden, len(s.Tokens))}
				if s.Prompt != nil {
					prompts[i] = *s.Prompt
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	var stored []states.Trajectory
	var asked []states.Prompt
	for i := 0; i < len(trajectories); i += 2 {
		if trajectories[i].Tokens == nil || trajectories[i+1].Tokens == nil {
			continue
		}
		if d.schema.Prompts {
			asked = append(asked, prompts[i])
			// Tokens may run from the prompt into the answer: the sides part where they are read apart.
			if !slices.Equal(prompts[i].Tokens, prompts[i+1].Tokens) {
				prompts[i+1].ID += " " + rejectedPrompt
				trajectories[i+1].Prompt = prompts[i+1].ID
				asked = append(asked, prompts[i+1])
			}
		}
		stored = append(stored, trajectories[i:i+2]...)
	}
	return states.Write(path, d.schema, asked, stored)
}

// rejectedPrompt ends the names of prompts that are the rejected sides' alone.
const rejectedPrompt = "rejected"

// unreadable is the error of a pair that is no conversation to the model.
func unreadable(err error) error {
	return &fault.Error{Op: op, Field: "template", Err: fmt.Errorf("a pair cannot be shown to the model: %w", err), Hint: "mend the pairs, or give another {template}"}
}

// tooLong says whether an answer cannot be read for its length alone, of which there is a most.
func tooLong(err error) bool {
	f := (*fault.Error)(nil)
	return errors.As(err, &f) && f.Limit != nil
}

// keep finds the pairs whose states are there.
func (d *Data) keep(pairs []preference.Pair) error {
	for s, path := range d.shards {
		r, err := states.Open(path)
		if err != nil {
			return err
		}
		err = r.Expect(d.schema)
		n := r.Len()
		d.first = append(d.first, len(d.Pairs))
		for i := 0; i < n && err == nil; i += 2 {
			var m states.Meta
			if m, err = r.At(i); err == nil {
				var at int
				if _, err = fmt.Sscan(m.Prompt, &at); err == nil {
					d.Pairs = append(d.Pairs, pairs[s*shardPairs+at])
				}
			}
		}
		if err := errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("%w (remove the file, and run the same command again)", err)
		}
	}
	d.first = append(d.first, len(d.Pairs))
	if d.Left = len(pairs) - len(d.Pairs); len(d.Pairs) == 0 {
		return fault.New(op, "pairs", nil, "take shorter conversations, or a model that reads more", "none of %d pairs fits the model's context", len(pairs))
	}
	return nil
}

// each calls f with the states of every pair's sides, in order: those of some of the stored layers, by
// their numbers, and with prompts those of the prompts.
func (d *Data) each(ctx context.Context, layers []int, prompts bool, f func(pair, side int, s head.States) error) error {
	for i := range d.shards {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		all, err := d.load(i, layers, prompts)
		if err != nil {
			return err
		}
		for k, pair := range all {
			for side, s := range pair {
				if err := f(d.first[i]+k, side, s); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// below is the number of stored layers that prompts lack: the embeddings.
func (d *Data) below() int { return len(d.schema.Layers) - len(d.schema.PromptLayers) }

// all are the numbers of the stored layers.
func (d *Data) all() []int {
	all := make([]int, len(d.layers))
	for i := range all {
		all[i] = i
	}
	return all
}

// load reads a shard: the states of some of the stored layers of each pair's sides, and with prompts
// those of the prompts.
func (d *Data) load(shard int, layers []int, prompts bool) (pairs [][2]head.States, err error) {
	r, err := states.Open(d.shards[shard])
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Expect(d.schema); err != nil {
		return nil, err
	}
	asked := map[string]*states.Prompt{}
	for t, err := range r.All() {
		if err != nil {
			return nil, err
		}
		if prompts && asked[t.Prompt] == nil {
			p, err := r.Prompt(t.Prompt)
			if err != nil {
				return nil, err
			}
			p.Hidden = cut(p.Hidden, d.width, len(d.schema.PromptLayers), layers, d.below())
			asked[t.Prompt] = &p
		}
		if t.Sample == chosen {
			pairs = append(pairs, [2]head.States{})
		}
		pairs[len(pairs)-1][t.Sample] = head.States{Tokens: t.Tokens, Hidden: cut(t.Hidden, d.width, len(d.schema.Layers), layers, 0), Prompt: asked[t.Prompt]}
	}
	return pairs, nil
}

// cut takes some layers, counted from below on, out of rows of n layers.
func cut(hidden []float32, width, n int, layers []int, below int) []float32 {
	if len(layers) == n && below == 0 {
		return hidden
	}
	x := make([]float32, 0, len(hidden)/n*len(layers))
	for at := 0; at < len(hidden); at += n * width {
		for _, l := range layers {
			from := at + (l-below)*width
			x = append(x, hidden[from:from+width]...)
		}
	}
	return x
}

// beside puts n rows behind n others.
func beside(a, b []float32, n int) []float32 {
	if a == nil {
		return b
	}
	var out []float32
	for i := range n {
		out = append(append(out, a[i*len(a)/n:(i+1)*len(a)/n]...), b[i*len(b)/n:(i+1)*len(b)/n]...)
	}
	return out
}
