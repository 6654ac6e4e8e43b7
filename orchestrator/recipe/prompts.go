package recipe

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// part is a part by its name.
type part struct {
	name string
	*Part
}

// parts are all of them; each is disjoint from those before.
func (p *Parts) parts() []part {
	return []part{{"train", &p.Train}, {"validation", &p.Validation}, {"test", &p.Test}}
}

// prompts reads the files of prompts, and finds those that are in two parts.
func (r *Recipe) prompts(p *Problems) {
	parts := r.Prompts.parts()
	for i, x := range parts {
		if x.File == "" {
			continue
		}
		var err error
		if x.Records, x.lines, err = prompt.ReadLines(x.File, prompt.ReadOptions{}); err != nil {
			p.fail(x.line, "prompts."+x.name, bare(err))
			continue
		}
		if x.Skip >= len(x.Records) && x.Skip > 0 {
			p.add(x.line, "prompts.%s: all of %d prompts are skipped (lower skip)", x.name, len(x.Records))
			x.Skip = 0
		}
		x.Records, x.lines = x.Records[x.Skip:], x.lines[x.Skip:]
		if x.First > len(x.Records) {
			p.add(x.line, "prompts.%s: the first %d of %d prompts (lower first)", x.name, x.First, len(x.Records))
		}
		for _, n := range []int{x.First, x.most} {
			if n > 0 && n < len(x.Records) {
				x.Records, x.lines = x.Records[:n], x.lines[:n]
			}
		}
		for _, before := range parts[:i] {
			if shared := x.shared(before.Part, &r.Encoding); len(shared) > 0 {
				p.add(x.line, "prompts.%s and prompts.%s overlap: %s (take them out of one: what was learned from or chosen on says little when it is tested on)", x.name, before.name, some(shared))
			}
		}
	}
}

// shared are the prompts that another part has too, by their ids, where these were given, or by what
// a model sees of them.
func (x *Part) shared(other *Part, e *Encoding) (out []string) {
	ids, texts := map[string]int{}, map[string]int{}
	for i, r := range other.Records {
		if other.named(i) {
			ids[r.ID] = i + 1
		}
		texts[e.seen(r)] = i + 1
	}
	for i, r := range x.Records {
		at, how := texts[e.seen(r)], "text"
		if x.named(i) && ids[r.ID] > 0 {
			at, how = ids[r.ID], "id"
		}
		if at > 0 {
			out = append(out, fmt.Sprintf("%s has the %s of %s", x.place(i), how, other.place(at-1)))
		}
	}
	return out
}

// seen is what a model sees of a prompt.
func (e *Encoding) seen(r prompt.Record) string {
	if e.Chat && r.Messages == nil {
		r.Text, r.Messages = "", []llama.Message{{Role: "user", Content: r.Text}}
	}
	return r.Content()
}

// place is where a prompt stands.
func (x *Part) place(i int) string {
	if x.lines == nil { // those of a run
		return fmt.Sprintf("prompt %s of %s", x.Records[i].ID, x.File)
	}
	return fmt.Sprintf("%s:%d", x.File, x.lines[i])
}

// named says whether a prompt was given its id: one that has none is called by the number of its
// line or row, and so one that has the same number counts as having none, as do those of a run.
func (x *Part) named(i int) bool {
	if x.lines == nil {
		return false
	}
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
