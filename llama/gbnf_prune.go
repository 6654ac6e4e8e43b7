package llama

import (
	"slices"
	"unicode/utf8"
)

// prune takes out the alternatives that stand for no text, because every way through them goes on forever or asks for
// a character that there is none of: whoever begins one would never end. It says whether there were any, and it is an
// error if nothing is left.
func (g *gbnf) prune(root string) (pruned bool, err error) {
	ends := make([]bool, len(g.rules)) // some way through the rule does
	ok := func(e int32) bool {
		if e >= 0 {
			return ends[e]
		}
		t := &g.terminals[gbnfTerminal-e]
		return t.token >= 0 || t.meets(0, 0xD7FF) || t.meets(0xE000, utf8.MaxRune)
	}
	for changed := true; changed; {
		changed = false
		for i := range g.rules {
			if ends[i] {
				continue
			}
			for body := range g.rules[i].alternatives() {
				if !slices.ContainsFunc(body, func(e int32) bool { return !ok(e) }) {
					ends[i], changed = true, true
					break
				}
			}
		}
	}
	for i := range g.rules {
		var kept []int32
		for body := range g.rules[i].alternatives() {
			if slices.ContainsFunc(body, func(e int32) bool { return !ok(e) }) {
				pruned = true
				continue
			}
			if kept != nil {
				kept = append(kept, gbnfAlternative)
			}
			kept = append(append(make([]int32, 0, len(kept)+len(body)+1), kept...), body...)
		}
		if ends[i] {
			g.rules[i].body = kept
		}
	}
	if id := g.ids[root]; !ends[id] {
		return pruned, g.errorf(g.rules[id].at, "give what it repeats an alternative that ends", "no text can satisfy it: every way through rule %s goes on forever, or asks for a character that there is none of", root)
	}
	return pruned, nil
}
