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

// check says what is wrong with a document, called what, that a model of this shape is trained on.
func (d Doc) check(what string, c Config) error {
	switch {
	case d.Classes != nil && len(d.Classes) != len(d.Tokens):
		return fmt.Errorf("train: %s has %d classes for %d tokens: give one a token, or none", what, len(d.Classes), len(d.Tokens))
	case d.rows() < 1:
		return fmt.Errorf("train: %s has %d tokens: leave out what is shorter than 2", what, len(d.Tokens))
	case d.rows() > c.Context:
		return fmt.Errorf("train: %s has %d tokens, %d fit the context: split it or raise the context", what, len(d.Tokens), c.Context+1)
	case d.Weights != nil && len(d.Weights) != len(d.Tokens):
		return fmt.Errorf("train: %s has %d weights for %d tokens: give one a token, or none", what, len(d.Weights), len(d.Tokens))
	}
	for _, t := range d.Tokens {
		if t < 0 || int(t) >= c.Vocab {
			return fmt.Errorf("train: %s holds token %d, the vocabulary ends at %d: encode it with the model's tokenizer", what, t, c.Vocab-1)
		}
	}
	for r := range d.rows() {
		if k := d.class(r); min(k.A, k.B) < 0 || int(max(k.A, k.B)) >= c.Outputs || !(k.ShareB >= 0 && k.ShareB <= 1) {
			return fmt.Errorf("train: %s asks for %+v of %d outputs", what, k, c.Outputs)
		}
	}
	for _, w := range d.Weights {
		if !(w >= 0 && w < 1e6) {
			return fmt.Errorf("train: %s has weight %v: weights lie between 0 and a million", what, w)
		}
	}
	return nil
}

// example is what a loss is a function of: one document, or a pair of them of which the
// first is the better one. A document scores the sum of what its rows say (pass.said) by
// their weights; an example's score is that of its document, or what the better one scores
// more than the other, less offset.
type example struct {
	docs   []Doc
	offset float64
}

// examplesOf makes an example of every document.
func examplesOf(docs []Doc) []example {
	out := make([]example, len(docs))
	for i := range docs {
		out[i].docs = docs[i : i+1]
	}
	return out
}

// loss is a loss and its derivative by an example's score.
type loss func(score float64) (l, dl float64)

// likelihood is the loss of documents alone: minus the score, so the cross-entropy.
func likelihood(score float64) (l, dl float64) { return -score, -1 }

func checkExamples(what string, examples []example, c Config) error {
	if len(examples) == 0 {
		return fmt.Errorf("train: no %s documents: give at least one", what)
	}
	for i, e := range examples {
		for k, d := range e.docs {
			name := fmt.Sprintf("%s document %d", what, i)
			if len(e.docs) > 1 {
				name = fmt.Sprintf("the %s answer of %s pair %d", []string{"better", "other"}[k], what, i)
			}
			if err := d.check(name, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e example) rows() (n int) {
	for _, d := range e.docs {
		n += d.rows()
	}
	return n
}

// weight is by how much an example counts in a mean: 1 a pair, and a document by its rows.
func (e example) weight() (w float64) {
	if len(e.docs) > 1 {
		return 1
	}
	for i := range e.docs[0].rows() {
		w += float64(e.docs[0].weight(i))
	}
	return w
}

func size(examples []example) (rows int, weight float64) {
	for _, e := range examples {
		rows += e.rows()
		weight += e.weight()
	}
	return rows, weight
}

// largest are the rows of the largest example and of the longest document.
func largest(examples []example) (rows, longest int) {
	for _, e := range examples {
		rows = max(rows, e.rows())
		for _, d := range e.docs {
			longest = max(longest, d.rows())
		}
	}
	return rows, longest
}

// cursor is the place in the endless sequence of shuffled epochs.
type cursor struct{ epoch, next int }

// sampler deals the examples out in minibatches, each epoch in an order of its own.
type sampler struct {
	examples []example
	seed     uint64
	at       cursor
	order    []int // of epoch at.epoch
}

func newSampler(examples []example, seed uint64, at cursor) *sampler {
	s := &sampler{examples: examples, seed: seed, at: at}
	s.shuffle()
	return s
}

func (s *sampler) shuffle() {
	s.order = rand.New(rand.NewPCG(s.seed, uint64(s.at.epoch))).Perm(len(s.examples))
}

// batch takes examples as long as they fit rows rows, and one in any case.
func (s *sampler) batch(rows int) (out []example) {
	for used := 0; ; {
		if s.at.next == len(s.order) {
			s.at = cursor{s.at.epoch + 1, 0}
			s.shuffle()
		}
		e := s.examples[s.order[s.at.next]]
		if used += e.rows(); used > rows && len(out) > 0 {
			return out
		}
		out = append(out, e)
		s.at.next++
	}
}

// split deals a batch into n runs of examples with nearly the same number of rows
// each; none exceeds its fair share by more than an example.
func split(examples []example, n int) [][]example {
	total, _ := size(examples)
	out := make([][]example, n)
	done := 0
	for i := range out {
		k := 0
		for k < len(examples) && done*n < total*(i+1) {
			done += examples[k].rows()
			k++
		}
		out[i], examples = examples[:k], examples[k:]
	}
	return out
}

// passRows bounds the rows that one pass works on, unless an example has more: what a step
// takes of memory does not grow with the batch beyond it.
const passRows = 1024

// chunks deals examples into runs of at most passRows rows, or one example.
func chunks(examples []example) (out [][]example) {
	rows := 0
	for i, e := range examples {
		if rows += e.rows(); i == 0 || rows > passRows {
			out, rows = append(out, nil), e.rows()
		}
		out[len(out)-1] = append(out[len(out)-1], e)
	}
	return out
}
