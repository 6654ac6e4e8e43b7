package train

import (
	"fmt"
	"math/rand/v2"
)

// Doc is one document. It is trained on as it will be used: attention keeps to the
// document and its first token has position 0.
type Doc struct {
	Tokens []int32
	// Weights[i] is the weight of predicting Tokens[i] from those before it (so
	// Weights[0] counts for nothing); nil means 1 each.
	Weights []float32
	// Classes, if set, is what to predict instead of the next token: Classes[i] from
	// Tokens[0..i], with weight Weights[i]; one a token.
	Classes []Class
}

// Class is a target: output A with probability 1 - ShareB and output B with ShareB.
type Class struct {
	A, B   int32
	ShareB float32
}

// rows is the number of predictions, the unit in which training counts tokens.
func (d Doc) rows() int {
	if d.Classes != nil {
		return len(d.Classes)
	}
	return len(d.Tokens) - 1
}

// class is the target of row i, weight its weight.
func (d Doc) class(i int) Class {
	if d.Classes != nil {
		return d.Classes[i]
	}
	return Class{A: d.Tokens[i+1], B: d.Tokens[i+1]}
}

func (d Doc) weight(i int) float32 {
	if d.Weights == nil {
		return 1
	}
	return d.Weights[i+len(d.Tokens)-d.rows()]
}

func checkDocs(what string, docs []Doc, c Config) error {
	if len(docs) == 0 {
		return fmt.Errorf("train: no %s documents: give at least one", what)
	}
	for i, d := range docs {
		switch {
		case d.Classes != nil && len(d.Classes) != len(d.Tokens):
			return fmt.Errorf("train: %s document %d has %d classes for %d tokens: give one a token, or none", what, i, len(d.Classes), len(d.Tokens))
		case d.rows() < 1:
			return fmt.Errorf("train: %s document %d has %d tokens: leave out what is shorter than 2", what, i, len(d.Tokens))
		case d.rows() > c.Context:
			return fmt.Errorf("train: %s document %d has %d tokens, %d fit the context: split it or raise the context", what, i, len(d.Tokens), c.Context+1)
		case d.Weights != nil && len(d.Weights) != len(d.Tokens):
			return fmt.Errorf("train: %s document %d has %d weights for %d tokens: give one a token, or none", what, i, len(d.Weights), len(d.Tokens))
		}
		for _, t := range d.Tokens {
			if t < 0 || int(t) >= c.Vocab {
				return fmt.Errorf("train: %s document %d holds token %d, the vocabulary ends at %d: encode it with the model's tokenizer", what, i, t, c.Vocab-1)
			}
		}
		for r := range d.rows() {
			if k := d.class(r); min(k.A, k.B) < 0 || int(max(k.A, k.B)) >= c.Outputs || !(k.ShareB >= 0 && k.ShareB <= 1) {
				return fmt.Errorf("train: %s document %d asks for %+v of %d outputs", what, i, k, c.Outputs)
			}
		}
		for _, w := range d.Weights {
			if !(w >= 0 && w < 1e6) {
				return fmt.Errorf("train: %s document %d has weight %v: weights lie between 0 and a million", what, i, w)
			}
		}
	}
	return nil
}

func size(docs []Doc) (rows int, weight float64) {
	for _, d := range docs {
		rows += d.rows()
		for i := range d.rows() {
			weight += float64(d.weight(i))
		}
	}
	return rows, weight
}

// cursor is the place in the endless sequence of shuffled epochs.
type cursor struct{ epoch, next int }

// sampler deals the documents out in minibatches, each epoch in an order of its own.
type sampler struct {
	docs  []Doc
	seed  uint64
	at    cursor
	order []int // of epoch at.epoch
}

func newSampler(docs []Doc, seed uint64, at cursor) *sampler {
	s := &sampler{docs: docs, seed: seed, at: at}
	s.shuffle()
	return s
}

func (s *sampler) shuffle() {
	s.order = rand.New(rand.NewPCG(s.seed, uint64(s.at.epoch))).Perm(len(s.docs))
}

// batch takes documents as long as they fit rows rows, and one in any case.
func (s *sampler) batch(rows int) (docs []Doc) {
	for used := 0; ; {
		if s.at.next == len(s.order) {
			s.at = cursor{s.at.epoch + 1, 0}
			s.shuffle()
		}
		d := s.docs[s.order[s.at.next]]
		if used += d.rows(); used > rows && len(docs) > 0 {
			return docs
		}
		docs = append(docs, d)
		s.at.next++
	}
}

// split deals a batch into n runs of documents with nearly the same number of rows
// each; none exceeds its fair share by more than a document.
func split(docs []Doc, n int) [][]Doc {
	total, _ := size(docs)
	out := make([][]Doc, n)
	done := 0
	for i := range out {
		k := 0
		for k < len(docs) && done*n < total*(i+1) {
			done += docs[k].rows()
			k++
		}
		out[i], docs = docs[:k], docs[k:]
	}
	return out
}
