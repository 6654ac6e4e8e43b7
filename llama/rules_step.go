package llama

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// step is the state after a byte; ok is false where it may not come.
func (r *Rules) step(s GrammarState, b byte) (_ GrammarState, ok bool, err error) {
	if s.n == 0 && b < utf8.RuneSelf {
		s.node, err = r.next(s.node, rune(b))
		return s, err == nil && !s.node.dead(), err
	}
	var text [utf8.UTFMax]byte
	n := copy(text[:], s.tail[:s.n])
	text[n] = b
	n++
	if utf8.FullRune(text[:n]) {
		c, size := utf8.DecodeRune(text[:n])
		if c == utf8.RuneError && size == 1 {
			return s, false, nil
		}
		node, err := r.next(s.node, c)
		return GrammarState{node: node}, err == nil && !node.dead(), err
	}
	low, high := completions(text[:n])
	s.n = uint8(copy(s.tail[:], text[:n]))
	return s, slices.ContainsFunc(s.node.stacks, func(stack *grammarStack) bool {
		t := &r.terminals[gbnfTerminal-r.code[stack.pos]]
		return t.token < 0 && t.meets(low, high)
	}), nil
}

// completions are the first and the last character that begins with some bytes, which are a valid beginning.
func completions(text []byte) (low, high rune) {
	size, lead := 2, rune(text[0]&0x1F)
	least := rune(0x80)
	switch {
	case text[0] >= 0xF0:
		size, lead, least = 4, rune(text[0]&0x07), 0x10000
	case text[0] >= 0xE0:
		size, lead, least = 3, rune(text[0]&0x0F), 0x800
	}
	for _, b := range text[1:] {
		lead = lead<<6 | rune(b&0x3F)
	}
	left := 6 * (size - len(text))
	return max(least, lead<<left), min(utf8.MaxRune, lead<<left+(1<<left-1))
}

// next is the node after a character.
func (r *Rules) next(n *grammarNode, c rune) (*grammarNode, error) {
	if c < utf8.RuneSelf {
		if n.ascii == nil {
			n.ascii = new([utf8.RuneSelf]*grammarNode)
		}
		if known := n.ascii[c]; known != nil {
			return known, nil
		}
	} else if known := n.others[c]; known != nil {
		return known, nil
	}
	x := reading{rules: r, seen: map[place]bool{}}
	for _, stack := range n.stacks {
		if t := &r.terminals[gbnfTerminal-r.code[stack.pos]]; t.token < 0 && t.meets(c, c) {
			x.add(stack.pos+1, stack.next)
		}
	}
	to, err := x.node()
	if r.work += len(n.stacks) + len(x.seen); r.work > maxReadingWork {
		err = failf("grammar", "let fewer of its parts begin alike or be empty", "what may come next takes too many steps to find")
	}
	switch {
	case err != nil:
		return nil, err
	case c < utf8.RuneSelf:
		n.ascii[c] = to
	default:
		if n.others == nil {
			n.others = map[rune]*grammarNode{}
		}
		n.others[c] = to
	}
	return to, nil
}

// meets says whether any character from low to high is one of the class.
func (t *gbnfSymbol) meets(low, high rune) bool {
	for i := 0; i < len(t.ranges); i += 2 {
		if first, last := t.ranges[i], t.ranges[i+1]; t.not {
			if first <= low && low <= last { // what lies above it is left
				if low = last + 1; low > high {
					return false
				}
				i = -2 // the ranges are in no order
			}
		} else if first <= high && low <= last {
			return true
		}
	}
	return t.not
}

// reading gathers the ways in which a text may go on.
type reading struct {
	rules    *Rules
	seen     map[place]bool
	stacks   []*grammarStack
	complete bool
}

// add goes down from an element to the terminals that it begins with; what follows it is next.
func (x *reading) add(pos int32, next *grammarStack) {
	at := place{pos, next}
	if x.seen[at] || len(x.seen) > maxReadings {
		return
	}
	x.seen[at] = true
	switch e := x.rules.code[pos]; {
	case e == endOfBody && next == nil:
		x.complete = true
	case e == endOfBody:
		x.add(next.pos, next.next)
	case e >= 0:
		if x.rules.code[pos+1] != endOfBody { // else what follows is next: rules that end in themselves pile nothing up
			next = x.rules.stack(place{pos + 1, next})
		}
		for _, start := range x.rules.starts[e] {
			x.add(start, next)
		}
	default:
		x.stacks = append(x.stacks, x.rules.stack(at))
	}
}

// merge adds those of a node.
func (x *reading) merge(n *grammarNode) {
	x.complete = x.complete || n.complete
	for _, s := range n.stacks {
		if !slices.Contains(x.stacks, s) {
			x.stacks = append(x.stacks, s)
		}
	}
}

func (x *reading) any() bool { return x.complete || len(x.stacks) > 0 }

// node is the node of what was gathered.
func (x *reading) node() (*grammarNode, error) {
	if len(x.seen) > maxReadings {
		return nil, failf("grammar", "let fewer of its parts begin alike or be empty", "a text can be read in more than %d ways", maxReadings)
	}
	key := make([]byte, 0, 8*len(x.stacks)+1)
	if x.complete {
		key = append(key, '.')
	}
	slices.SortFunc(x.stacks, func(a, b *grammarStack) int { return cmp.Compare(a.number, b.number) })
	for _, s := range x.stacks {
		key = binary.LittleEndian.AppendUint32(key, s.number)
	}
	n, ok := x.rules.nodes[string(key)]
	if !ok {
		n = &grammarNode{stacks: x.stacks, complete: x.complete}
		x.rules.nodes[string(key)] = n
	}
	return n, nil
}

// stack is the one of all that are equal.
func (r *Rules) stack(at place) *grammarStack {
	s, ok := r.stacks[at]
	if !ok {
		s = &grammarStack{at, r.made}
		r.stacks[at] = s
		r.made++
	}
	return s
}

// writes says whether a token has a text that a grammar can follow.
func writes(piece []byte) bool { return len(piece) > 0 && bytes.IndexByte(piece, 0) < 0 }
