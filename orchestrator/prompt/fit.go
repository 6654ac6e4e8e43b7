package prompt

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/think"
)

// Encoded is a prompt with its tokens.
type Encoded struct {
	Record
	Tokens []int32
	Thinks *think.Marks // how the model that they are for thinks; nil of one that does not
}

// Left is a prompt that was left out, and why.
type Left struct {
	ID     string
	Tokens int
	Err    error
}

// Fit encodes prompts and leaves out those that are too long: those for whose number of
// tokens fits gives an error. strict refuses the first of them. No prompt left is an error.
func Fit(e *Encoder, records []Record, fits func(tokens int) error, strict bool) (kept []Encoded, left []Left, err error) {
	for _, r := range records {
		tokens, err := e.Encode(r)
		if err != nil {
			return nil, nil, fmt.Errorf("prompt %s: %w", r.ID, err)
		}
		if err := fits(len(tokens)); err != nil {
			if strict {
				return nil, nil, fmt.Errorf("prompt %s: %w", r.ID, err)
			}
			left = append(left, Left{r.ID, len(tokens), err})
			continue
		}
		kept = append(kept, Encoded{r, tokens, e.thinks})
	}
	if len(kept) > 0 || len(left) == 0 {
		return kept, left, nil
	}
	shortest := slices.MinFunc(left, func(a, b Left) int { return a.Tokens - b.Tokens })
	return nil, left, fmt.Errorf("none of %d prompts fits, not even the shortest, prompt %s: %w", len(left), shortest.ID, shortest.Err)
}

// Note says which of so many prompts are left out, a line each; nothing where none is.
func Note(left []Left, of int) string {
	const shown = 5
	var b strings.Builder
	for _, l := range left[:min(len(left), shown)] {
		fmt.Fprintf(&b, "(prompt %s is left out: %v)\n", l.ID, l.Err)
	}
	if more := len(left) - shown; more > 0 {
		fmt.Fprintf(&b, "(and %d more are)\n", more)
	}
	if len(left) > 0 {
		fmt.Fprintf(&b, "(%d of %d prompts are left out; %s)\n", len(left), of, fault.Spell("{strict} refuses them"))
	}
	return b.String()
}

// HoldOut splits prompts into those to train on and n to evaluate on, which the ids decide:
// the same file is split the same way, whatever its order. Both keep the order of the file.
// Prompts of the same content stay together, so that n may be missed by a few; some are
// always left to train on.
func HoldOut(records []Record, n int) (train, held []Record) {
	order := make([]int, len(records))
	hashes := make([]uint64, len(records))
	same := map[string][]int{} // by content
	for i, r := range records {
		h := fnv.New64a()
		h.Write([]byte(r.ID))
		// FNV's upper bits hardly depend on a last digit.
		x := h.Sum64()
		x = (x ^ x>>33) * 0xff51afd7ed558ccd
		order[i], hashes[i] = i, x^x>>33
		same[r.Content()] = append(same[r.Content()], i)
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(hashes[a], hashes[b]), a-b) })
	out := map[int]bool{}
	for _, i := range order {
		copies := same[records[i].Content()]
		if out[i] || len(out)+len(copies) >= len(records) {
			continue
		}
		if len(out) >= n {
			break
		}
		for _, k := range copies {
			out[k] = true
		}
	}
	for i, r := range records {
		if out[i] {
			held = append(held, r)
		} else {
			train = append(train, r)
		}
	}
	return train, held
}

// Content is what a model sees of the record, but for the space around it, which many templates
// take off.
func (r Record) Content() string {
	seen := Record{Text: strings.TrimSpace(r.Text), Messages: slices.Clone(r.Messages)}
	for i, m := range seen.Messages {
		seen.Messages[i].Content = strings.TrimSpace(m.Content)
	}
	text, err := json.Marshal(seen)
	if err != nil {
		return r.ID // a message that cannot be written is like no other
	}
	return string(text)
}

// Disjoint refuses prompts to train on that are evaluated on too: the same tokens, whatever
// their ids.
func Disjoint(train, test []Encoded) error {
	ids := map[string]string{}
	for _, p := range test {
		ids[fmt.Sprint(p.Tokens)] = p.ID
	}
	var both []string
	first := ""
	for _, p := range train {
		if id, ok := ids[fmt.Sprint(p.Tokens)]; ok {
			if first == "" {
				first = fmt.Sprintf("prompt %s is prompt %s of the evaluation", p.ID, id)
			}
			both = append(both, p.ID)
		}
	}
	if both == nil {
		return nil
	}
	if len(both) > 1 {
		first = fmt.Sprintf("%s, one of %d that are in both", first, len(both))
	}
	return &fault.Error{Op: "split prompts", Field: "eval_prompts", Err: errors.New(first), Hint: "take them out of {prompts} or of {eval_prompts}: an evaluation on prompts that were trained on says little"}
}
