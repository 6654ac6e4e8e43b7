package llama

import (
	"iter"
	"math/bits"
)

// TokenSet is a set of tokens of a vocabulary. It does not change once it is made, and may be read by many
// goroutines at once.
type TokenSet struct {
	words []uint64
	n     int
}

// NewTokenSet makes the set of some tokens of a vocabulary of so many.
func NewTokenSet(vocab int, tokens ...int32) *TokenSet {
	s := &TokenSet{words: make([]uint64, (vocab+63)/64)}
	for _, t := range tokens {
		s.add(t)
	}
	return s
}

func (s *TokenSet) add(t int32) {
	if !s.Has(t) {
		s.words[t>>6] |= 1 << (t & 63)
		s.n++
	}
}

// Has says whether a token of the vocabulary is in the set.
func (s *TokenSet) Has(t int32) bool { return s.words[t>>6]>>(t&63)&1 != 0 }

// Len is the number of tokens.
func (s *TokenSet) Len() int { return s.n }

// All are the tokens in order.
func (s *TokenSet) All() iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for i, w := range s.words {
			for ; w != 0; w &= w - 1 {
				if !yield(int32(i*64 + bits.TrailingZeros64(w))) {
					return
				}
			}
		}
	}
}
