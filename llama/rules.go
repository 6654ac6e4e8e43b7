package llama

import (
	"slices"
	"sync"
	"unicode/utf8"
)

// Rules are a grammar that many texts follow at once, each with a [GrammarState] of its own: a few words that are
// copied where a text forks. What one text has found out, such as the tokens that may come inside a string, is kept
// for all others.
//
// They say of every text what a [Grammar] does, which llama.cpp follows, but for two things: a response never
// ends inside a character, and what could never end is not begun. They are safe for concurrent use.
type Rules struct {
	model *Model
	*gbnf
	named []int32 // tokens that the grammar asks for
	// The bodies of all rules, each alternative with endOfBody behind it, and where those of a rule begin.
	code   []int32
	starts [][]int32

	mu     sync.Mutex
	start  *grammarNode
	stacks map[place]*grammarStack
	nodes  map[string]*grammarNode
	made   uint32 // stacks, ever
	kept   int    // bytes of masks, about
	work   int    // readings that were gone through for the answer under way
}

const endOfBody = -1 << 31

// Bounds of what is kept of a grammar, and of how many ways a text may be read in.
const (
	maxGrammars     = 16      // of a model
	maxGrammarNodes = 1 << 15 // of a grammar, after which they are found anew
	maxMaskBytes    = 16 << 20
	maxReadings     = 1 << 12
	maxReadingWork  = 1 << 25 // readings that are gone through for one mask: a second or two
)

// place is a way to read what follows: element pos of the code, and then what stands below.
type place struct {
	pos  int32
	next *grammarStack
}

// grammarStack is a place. Equal ones are one.
type grammarStack struct {
	place
	number uint32
}

// grammarNode is the set of ways in which a text may go on. Equal ones are one.
type grammarNode struct {
	stacks   []*grammarStack // at terminals
	complete bool            // the text may end
	ascii    *[utf8.RuneSelf]*grammarNode
	others   map[rune]*grammarNode
	masks    map[GrammarState]*TokenSet
}

func (n *grammarNode) dead() bool { return len(n.stacks) == 0 && !n.complete }

// GrammarState is how far a text has come in a grammar. The zero value is none.
type GrammarState struct {
	node *grammarNode
	tail [utf8.UTFMax - 1]byte // of a character that is not complete
	n    uint8
}

// Complete says whether the text may end here.
func (s GrammarState) Complete() bool { return s.n == 0 && s.node.complete }

// Rules makes a grammar of a GBNF text whose rule root describes the whole response; [CheckGrammar] says what is
// refused, and tokens that the grammar names must be in the vocabulary. Those of the last texts are kept.
func (m *Model) Rules(text string) (*Rules, error) {
	m.grammars.Lock()
	defer m.grammars.Unlock()
	if i := slices.IndexFunc(m.grammars.kept, func(r *Rules) bool { return r.text == text }); i >= 0 {
		r := m.grammars.kept[i]
		m.grammars.kept = append(slices.Delete(m.grammars.kept, i, i+1), r)
		return r, nil
	}
	if err := m.checkTexts("grammar"); err != nil {
		return nil, err
	}
	checked, err := parseGBNF(text, "")
	if err != nil {
		return nil, err
	}
	if _, err := checked.prune("root"); err != nil {
		return nil, err
	}
	r := &Rules{model: m, gbnf: checked}
	if r.named, err = m.nameTokens(checked); err != nil {
		return nil, err
	}
	for _, rule := range checked.rules {
		var starts []int32
		for body := range rule.alternatives() {
			starts = append(starts, int32(len(r.code)))
			r.code = append(append(r.code, body...), endOfBody)
		}
		r.starts = append(r.starts, starts)
	}
	if err := r.reset(); err != nil {
		return nil, err
	}
	if m.grammars.kept = append(m.grammars.kept, r); len(m.grammars.kept) > maxGrammars {
		m.grammars.kept = slices.Delete(m.grammars.kept, 0, 1)
	}
	return r, nil
}

// reset forgets what was found out. States that are in use stay what they are.
func (r *Rules) reset() (err error) {
	r.stacks, r.nodes, r.kept = map[place]*grammarStack{}, map[string]*grammarNode{}, 0
	root := reading{rules: r, seen: map[place]bool{}}
	for _, at := range r.starts[r.ids["root"]] {
		root.add(at, nil)
	}
	r.start, err = root.node()
	return err
}

// Start is the state of an empty text.
func (r *Rules) Start() GrammarState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return GrammarState{node: r.start}
}

// Allowed are the tokens that may come next. Those that end a generation may where the text may end. Other tokens
// without a text may only where the grammar names them.
func (r *Rules) Allowed(s GrammarState) (*TokenSet, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := s
	key.node = nil
	if set, ok := s.node.masks[key]; ok {
		return set, nil
	}
	if len(r.nodes) > maxGrammarNodes || r.kept > maxMaskBytes {
		if err := r.reset(); err != nil {
			return nil, err
		}
	}
	set, err := r.mask(s)
	if err != nil {
		return nil, err
	}
	if s.node.masks == nil {
		s.node.masks = map[GrammarState]*TokenSet{}
	}
	s.node.masks[key] = set
	r.kept += 8 * len(set.words)
	return set, nil
}

// mask finds the tokens that may come next: of the sorted vocabulary, those that begin as one that may not are
// passed by.
func (r *Rules) mask(s GrammarState) (*TokenSet, error) {
	m := r.model
	v := m.sortedPieces()
	r.work = 0
	set := NewTokenSet(m.info.Vocab)
	states := append(make([]GrammarState, 0, 64), s) // after each byte of the token at hand
	const none = 1 << 30
	dead := none // bytes of the last token that was looked at which no token may begin with
	for i, token := range v.order {
		shared := int(v.shared[i])
		if shared >= dead {
			continue
		}
		piece := m.tok.pieces[token]
		states, dead = states[:shared+1], none
		for _, b := range piece[shared:] {
			next, ok, err := r.step(states[len(states)-1], b)
			if err != nil {
				return nil, err
			}
			if !ok {
				dead = len(states)
				break
			}
			states = append(states, next)
		}
		if len(states) == len(piece)+1 {
			set.add(token)
		}
	}
	if s.n > 0 {
		return set, nil
	}
	for _, stack := range s.node.stacks {
		t := r.terminals[gbnfTerminal-r.code[stack.pos]]
		switch {
		case t.token < 0:
		case !r.tokens[t.token].not:
			set.add(r.tokens[t.token].id)
		default:
			for _, tokens := range [][]int32{v.order, r.named} {
				for _, token := range tokens {
					if r.isToken(t.token, token) {
						set.add(token)
					}
				}
			}
		}
	}
	if s.node.complete {
		for token, eog := range m.tok.eog {
			if eog {
				set.add(int32(token))
			}
		}
	}
	return set, nil
}

// Next is the state after a token that may come next; others are an error.
func (r *Rules) Next(s GrammarState, token int32) (GrammarState, error) {
	const op = "grammar"
	m := r.model
	if err := m.checkToken(op, token); err != nil {
		return s, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.work = 0
	piece := m.tok.pieces[token]
	wrong := failf(op, "choose among the tokens that are allowed", "token %d (%q) may not come next", token, piece)
	if m.tok.eog[token] {
		if !s.Complete() {
			return s, wrong
		}
		return s, nil
	}
	next, ok := s, writes(piece)
	for _, b := range piece {
		var err error
		if !ok {
			break
		}
		if next, ok, err = r.step(next, b); err != nil {
			return s, err
		}
	}
	// The token itself may be what is asked for.
	whole := reading{rules: r, seen: map[place]bool{}}
	if s.n == 0 {
		for _, stack := range s.node.stacks {
			if t := r.terminals[gbnfTerminal-r.code[stack.pos]]; t.token >= 0 && r.isToken(t.token, token) {
				whole.add(stack.pos+1, stack.next)
			}
		}
	}
	if !whole.any() {
		if !ok {
			return s, wrong
		}
		return next, nil
	}
	if ok {
		whole.merge(next.node)
	}
	node, err := whole.node()
	return GrammarState{node: node}, err
}

// isToken says whether a token is the one that reference i asks for.
func (r *Rules) isToken(i int, token int32) bool {
	if t := r.tokens[i]; !t.not || t.id == token {
		return !t.not && t.id == token
	}
	piece := r.model.tok.pieces[token]
	return writes(piece) && utf8.Valid(piece) || slices.Contains(r.named, token)
}
