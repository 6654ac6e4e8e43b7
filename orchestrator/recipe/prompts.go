package recipe

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// prompts reads the files of prompts, and finds those that are in two parts.
func (r *Recipe) prompts(p *Problems) {
	type part struct {
		name string
		*Part
	}
	parts := []part{{"train", &r.Prompts.Train}, {"validation", &r.Prompts.Validation}, {"test", &r.Prompts.Test}}
	for i, x := range parts {
		if x.File == "" {
			continue
		}
		var err error
		if x.Records, x.lines, err = prompt.ReadLines(x.File, prompt.ReadOptions{}); err != nil {
			p.fail(x.line, "prompts."+x.name, bare(err))
			continue
		}
		if x.First > len(x.Records) {
			p.add(x.line, "prompts.%s: the first %d of %d prompts (lower first)", x.name, x.First, len(x.Records))
		} else if x.First > 0 {
			x.Records, x.lines = x.Records[:x.First], x.lines[:x.First]
		}
		for _, before := range parts[:i] {
			if shared := x.shared(before.Part); len(shared) > 0 {
				p.add(x.line, "prompts.%s and prompts.%s overlap: %s (take them out of one: what was learned from or chosen on says little when it is tested on)", x.name, before.name, some(shared))
			}
		}
	}
}

// shared are the prompts that another part has too, by their ids, where these were given, or by what
// a model sees of them.
func (x *Part) shared(other *Part) (out []string) {
	ids, texts := map[string]int{}, map[string]int{}
	for i, r := range other.Records {
		if other.named(i) {
			ids[r.ID] = i + 1
		}
		texts[r.Content()] = i + 1
	}
	for i, r := range x.Records {
		at, how := texts[r.Content()], "text"
		if x.named(i) && ids[r.ID] > 0 {
			at, how = ids[r.ID], "id"
		}
		if at > 0 {
			out = append(out, fmt.Sprintf("%s:%d has the %s of %s:%d", x.File, x.lines[i], how, other.File, other.lines[at-1]))
		}
	}
	return out
}

// named says whether a prompt was given its id: one that has none is called by the number of its
// line or row, and so one that has the same number counts as having none.
func (x *Part) named(i int) bool {
	id := x.Records[i].ID
	return id != strconv.Itoa(x.lines[i]) && id != strconv.Itoa(i+1)
}

// some shows the first few of a list.
func some(list []string) string {
	const shown = 3
	text := strings.Join(list[:min(len(list), shown)], ", ")
	if more := len(list) - shown; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}
