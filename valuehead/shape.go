package valuehead

import (
	"fmt"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Shape is the size of a head. Zero values mean the defaults stated; a kind ignores what
// it has no use for.
type Shape struct {
	// Hidden is the number of units of hidden layers; default 192, of Recall 96.
	Hidden int
	// Atoms is the number of returns over which a categorical head spreads its
	// probability; 0 makes a head that gives the mean alone.
	Atoms int

	// Members is the number of heads, of different seeds, whose mean the value is;
	// default 1. Of categorical heads the distributions are mixed.
	Members int

	// The rest is of Recall.

	Project  int // columns that rows are projected to; default 96
	Channels int // of the memory; default 64
	Keys     int // width of the keys and queries of attention; default 32
	Values   int // width of what is read from a token of the prompt; default 64; negative for no attention
	Products int // products of what was found and what was said; default 32
	// Match is what attention searches for before training; default MatchTokens.
	Match Match
	// Scan is the width of the short memories that run along the response and along the
	// prompt from either end, so that a word is known by its neighbours; default 32;
	// negative for none.
	Scan int
	// Embedding is the width of a learned embedding of the token; default 0: states
	// know the token. Heads of candidates need one.
	Embedding  int
	Vocabulary int // rows of the embedding; larger token ids share rows. Set by training, at most 4096.
	// Advantages makes the value a sum, V(s_t) = V(s_0) + sum_i A(s_i, a_i), i <= t.
	Advantages bool
}

// maxVocabulary bounds the rows of a token embedding.
const maxVocabulary = 4096

func (s *Shape) defaults(kind Kind) {
	set := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
		*v = max(*v, 0)
	}
	set(&s.Members, 1)
	switch kind {
	case Additive:
		*s = Shape{Members: 1}
	case Linear:
		*s = Shape{Atoms: s.Atoms, Members: s.Members}
	case MLP:
		*s = Shape{Atoms: s.Atoms, Members: s.Members, Hidden: s.Hidden}
		set(&s.Hidden, 192)
	case Recall:
		set(&s.Hidden, 96)
		set(&s.Project, 96)
		set(&s.Channels, 64)
		set(&s.Values, 64)
		if s.Values == 0 {
			s.Keys, s.Products, s.Match = 0, -1, ""
		} else {
			set(&s.Keys, 32)
			if s.Match == "" {
				s.Match = MatchTokens
			}
		}
		set(&s.Products, 32)
		set(&s.Scan, 32)
	}
}

// size is a number of a shape.
type size struct {
	name string
	v    *int
}

// sizes are all numbers of the shape.
func (s *Shape) sizes() []size {
	return []size{
		{"hidden", &s.Hidden}, {"atoms", &s.Atoms}, {"members", &s.Members}, {"project", &s.Project}, {"channels", &s.Channels}, {"keys", &s.Keys}, {"values", &s.Values},
		{"products", &s.Products}, {"scan", &s.Scan}, {"embedding", &s.Embedding}, {"vocabulary", &s.Vocabulary},
	}
}

func (s *Shape) validate() error {
	const most = 1 << 20
	for _, n := range s.sizes() {
		if *n.v < 0 || *n.v > most {
			return fmt.Errorf("valuehead: %d %s in the head's shape (leave it zero for the default)", *n.v, n.name)
		}
	}
	if s.Members > 1000 {
		return fault.New(op, "", 1000, "choose at most 1000", "an ensemble of %d heads", s.Members)
	}
	if s.Atoms == 1 {
		return fault.New(op, "atoms", 2, "choose 0 as {atoms} for the mean alone, or at least 2", "a distribution over one return")
	}
	return s.Match.validate()
}

// outputs is the number of floats that the model gives for a state.
func (s *Shape) outputs() int { return max(s.Atoms, 1) }

// looks reports whether the head has attention over the prompt.
func (s *Shape) looks() bool { return s.Values > 0 }
