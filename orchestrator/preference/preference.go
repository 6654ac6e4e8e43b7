// Package preference is what people say of two answers to one prompt: which of them is the better
// one. Pairs are read from files in the shapes that they are published in. The package knows
// nothing of models, nor of what is learned from pairs.
package preference

import (
	"encoding/json"
	"io"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Pair is two answers to one prompt, of which one was preferred.
type Pair struct {
	Prompt           prompt.Record // with what else its record says, but for the sides and the margin
	Chosen, Rejected string        // both not empty, and not the same
	Margin           float64       // by how much it is better, at least 0; 0 where that is not said
}

// MarshalJSON writes the pair as Read reads it: its prompt's record, with chosen, rejected and a
// margin that is not 0.
func (p Pair) MarshalJSON() ([]byte, error) {
	r := p.Prompt
	r.Fields = map[string]json.RawMessage{}
	for name, field := range p.Prompt.Fields {
		r.Fields[name] = field
	}
	put := func(name string, v any) (err error) {
		r.Fields[name], err = json.Marshal(v)
		return err
	}
	if err := put("chosen", p.Chosen); err != nil {
		return nil, err
	}
	if err := put("rejected", p.Rejected); err != nil {
		return nil, err
	}
	if p.Margin != 0 {
		if err := put("margin", p.Margin); err != nil {
			return nil, err
		}
	}
	return r.MarshalJSON()
}

// Group names the pairs that are kept together when some are held out: those of one prompt, and
// of conversations that begin with the same question, which are often one cut at several turns.
func (p Pair) Group() string {
	for _, m := range p.Prompt.Messages {
		if m.Role == "user" {
			return prompt.Record{Text: m.Content}.Content()
		}
	}
	return p.Prompt.Content()
}

// Split holds out about a share of the prompts, with all of their pairs. What a prompt says decides
// where it goes, whatever the file's order. Both keep the order of the pairs.
func Split(pairs []Pair, share float64) (train, held []Pair, err error) {
	groups := make([]string, len(pairs))
	for i, p := range pairs {
		groups[i] = p.Group()
	}
	out, err := valuehead.HeldOutPrompts(groups, share)
	if err != nil {
		return nil, nil, err
	}
	for i, p := range pairs {
		if out[groups[i]] {
			held = append(held, p)
		} else {
			train = append(train, p)
		}
	}
	return train, held, nil
}

// OfScored is the pair of the best and the worst of some responses to a prompt, with the difference
// of their scores as its margin. There is none where they do not differ, or by less than least.
func OfScored(r prompt.Record, responses []string, scores []float64, least float64) (p Pair, ok bool) {
	best, worst := 0, 0
	for i, s := range scores {
		if s > scores[best] {
			best = i
		}
		if s < scores[worst] {
			worst = i
		}
	}
	if len(scores) == 0 {
		return p, false
	}
	p = Pair{r, responses[best], responses[worst], scores[best] - scores[worst]}
	return p, p.Margin > 0 && p.Margin >= least && p.check() == nil
}

// Write writes pairs as JSON lines, whole or not at all.
func Write(path string, pairs []Pair) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, p := range pairs {
			if err := enc.Encode(p); err != nil {
				return err
			}
		}
		return nil
	})
}
