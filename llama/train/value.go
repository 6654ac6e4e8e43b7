package train

import (
	"context"
	"fmt"
	"math"
	"sort"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// ValueDoc is a response whose states have one return: the prompt's and the response's
// tokens, of which those from From on are the response.
type ValueDoc struct {
	Tokens []int32
	From   int
	Return float32
}

// Metadata of a value model: the returns that its first logits stand for, and how far its values
// move along a response (valuehead.UnitOf).
const (
	AtomsKey = "ivo.value.atoms"
	UnitKey  = "ivo.value.unit"
)

// ValueModel is a network that was fine-tuned as a value function: the softmax of its first
// outputs is the distribution of the return over Atoms. As a GGUF it is an ordinary model
// of the same vocabulary, whose logits beyond the atoms mean nothing.
type ValueModel struct {
	*Model
	Atoms []float32 // rising
}

// Atoms spreads n atoms evenly over the range of the documents' returns.
func Atoms(docs []ValueDoc, n int) []float32 {
	lo, hi := float32(math.Inf(1)), float32(math.Inf(-1))
	for _, d := range docs {
		lo, hi = min(lo, d.Return), max(hi, d.Return)
	}
	out := make([]float32, n)
	for i := range out {
		out[i] = lo + (hi-lo)*float32(i)/float32(max(n-1, 1))
	}
	return out
}

// TrainValue fine-tunes the whole of base on the returns of its own responses, by the
// cross-entropy between the softmax over the atoms and the two-hot return, summed over the
// response's states (Monte Carlo value estimation of arXiv 2503.02368, with the categorical
// loss of arXiv 2403.03950).
func TrainValue(ctx context.Context, base *Model, atoms []float32, opts Options, docs, heldOut []ValueDoc) (*ValueModel, error) {
	if len(atoms) < 2 || len(atoms) > base.Config.Vocab || !sort.SliceIsSorted(atoms, func(i, j int) bool { return atoms[i] < atoms[j] }) {
		return nil, fmt.Errorf("train: %d atoms: choose 2 or more, rising, and at most one a token", len(atoms))
	}
	cfg := base.Config
	cfg.Tied, cfg.Outputs = false, len(atoms)
	opts.From = base
	classes := func(docs []ValueDoc) (out []Doc, err error) {
		for i, d := range docs {
			if d.From < 1 || d.From >= len(d.Tokens) || d.Return-d.Return != 0 {
				return nil, fmt.Errorf("train: value document %d: a response from token %d of %d with return %v", i, d.From, len(d.Tokens), d.Return)
			}
			out = append(out, d.rowsOf(twoHot(atoms, d.Return)))
		}
		return out, nil
	}
	train, err := classes(docs)
	if err != nil {
		return nil, err
	}
	held, err := classes(heldOut)
	if err != nil {
		return nil, err
	}
	m, err := run(ctx, cfg, opts, objective{"value", likelihood}, examplesOf(train), examplesOf(held))
	if err != nil {
		return nil, err
	}
	return &ValueModel{m, atoms}, nil
}

// rowsOf asks for a class at each of the response's states.
func (d ValueDoc) rowsOf(c Class) Doc {
	doc := Doc{Tokens: d.Tokens, Weights: make([]float32, len(d.Tokens)), Classes: make([]Class, len(d.Tokens))}
	for t := range doc.Classes {
		if doc.Classes[t] = c; t >= d.From {
			doc.Weights[t] = 1
		}
	}
	return doc
}

// twoHot splits a return between the two atoms around it, so that its mean is kept.
func twoHot(atoms []float32, r float32) Class {
	i := sort.Search(len(atoms), func(i int) bool { return atoms[i] > r })
	switch {
	case i == 0:
		return Class{}
	case i == len(atoms):
		return Class{A: int32(i - 1), B: int32(i - 1)}
	}
	return Class{int32(i - 1), int32(i), (r - atoms[i-1]) / (atoms[i] - atoms[i-1])}
}

// Values are the mean returns of the documents' response states, by document. The number of
// workers (0 for GOMAXPROCS) does not change them.
func (m *ValueModel) Values(ctx context.Context, docs []ValueDoc, workers int) ([][]float32, error) {
	out, examples := make([][]float32, len(docs)), make([]example, len(docs))
	for i, d := range docs {
		if len(d.Tokens) > m.Config.Context || d.From < 0 || d.From > len(d.Tokens) {
			return nil, fmt.Errorf("train: a document of %d tokens, the response from %d on: %d fit the context", len(d.Tokens), d.From, m.Config.Context)
		}
		examples[i].docs = []Doc{d.rowsOf(Class{})}
	}
	err := m.each(ctx, examples, workers, func(first int, p *pass) {
		for i, r := range p.read {
			values := make([]float32, r.n)
			for t := range values {
				for a, prob := range p.logits[(r.start+t)*m.Config.Outputs:][:m.Config.Outputs] {
					values[t] += prob * m.Atoms[a]
				}
			}
			out[first+i] = values
		}
	})
	return out, err
}

// WriteGGUF saves the value model with the tokenizer's metadata of the model it was made
// from.
func (m *ValueModel) WriteGGUF(path string, tokenizer []gguf.KV) error {
	return m.Model.WriteGGUF(path, append(tokenizer[:len(tokenizer):len(tokenizer)], gguf.KV{Key: AtomsKey, Value: m.Atoms}))
}
