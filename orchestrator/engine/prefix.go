package engine

import (
	"cmp"
	"slices"
)

// prefix is a prompt whose cells outlive the job that decoded it, in a sequence of its own. Prompts that
// begin alike share the cells of what they have in common: they form a tree.
type prefix struct {
	id     int32
	tokens []int32
	of     *prefix   // whose first tokens its first ones are, or nil
	shared int       // the number of those
	states []float32 // of the tokens from shared on, as many as are known
	number int       // of the order in which they came
	used   int       // when it, or one that shares its cells, was last wanted
	idle   int       // tokens that had been decoded when a job last lived on it
	aside  []byte    // its own tokens' cells, where it is set aside: it has no sequence then, and fills no cells
}

// own is the number of its cells that no other holds for it.
func (p *prefix) own() int { return len(p.tokens) - p.shared }

// statesTo gathers the states of the first n tokens, of each of which there are width, or as many as are
// known.
func (p *prefix) statesTo(n, width int) []float32 {
	var out []float32
	if p.of != nil {
		out = p.of.statesTo(min(n, p.shared), width)
	}
	if n <= p.shared || len(out) < p.shared*width {
		return out
	}
	return slices.Concat(out, p.states[:min(len(p.states), (n-p.shared)*width)])
}

// learn notes the states of its first tokens.
func (p *prefix) learn(states []float32, width int) {
	if p.of != nil {
		p.of.learn(states[:min(len(states), p.shared*width)], width)
	}
	if from := p.shared * width; len(states)-from > len(p.states) {
		p.states = slices.Clone(states[from:min(len(states), len(p.tokens)*width)])
	}
}

// begins is what is kept of a job's prompt.
type begins struct {
	from   *prefix
	n      int     // tokens
	prompt []int32 // the first n
	states []float32
	cut    bool // the copy of from may have more than n tokens
}

// of is what of it a prompt begins with, whose states may be wanted too. The row of its last token is
// always decoded.
func (b begins) of(prompt []int32, states bool) begins {
	if b.n == 0 || states && b.states == nil {
		return begins{}
	}
	n := min(common(b.prompt, prompt), len(prompt)-1)
	if n < b.n && !b.cut {
		return begins{}
	}
	if states {
		b.states = slices.Clone(b.states[:len(b.states)/b.n*n])
	} else {
		b.states = nil
	}
	b.n = n
	return b
}

func common(a, b []int32) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// cuts says whether sequences can be cut anywhere: a recurrent memory cannot, and one that keeps a window
// has lost what came before the cut.
func (r *scheduler) cuts() bool {
	info := r.e.model.Info()
	return !info.Recurrent && (info.Window == 0 || r.e.c.Params().FullWindow)
}

// width is the number of the states of a token.
func (r *scheduler) width() int { return len(r.e.c.Params().Layers) * r.e.model.Info().Width }

// find looks for the longest beginning of a job's prompt that is kept, in the context or aside.
func (r *scheduler) find(j Job) begins {
	var b begins
	w := r.width()
	for _, p := range r.prefixes {
		n := min(common(p.tokens, j.Prompt), len(j.Prompt)-1)
		if n <= b.n {
			continue
		}
		var states []float32
		if j.PromptStates && w > 0 {
			states = p.statesTo(n, w)
			n = len(states) / w
		}
		if n > b.n && (n == len(p.tokens) || r.cuts()) {
			b = begins{from: p, n: n, prompt: j.Prompt[:n], states: states, cut: r.cuts()}
		}
	}
	return b
}

// room makes room for a job, if it can be had: what is kept goes, the oldest first, and only as far as
// nobody lives on it. It returns what is kept of the job's prompt.
func (r *scheduler) room(j Job) (begins, bool) {
	if b := r.find(j); b.n > 0 && r.fetch(b.from) && r.reclaim(j.Sequences, j.Cells-b.n, b) {
		r.touch(b.from)
		return b, true
	}
	return begins{}, r.reclaim(j.Sequences, j.Cells, begins{})
}

// worth is the number of tokens that a job waits for another to decode, in place of decoding them too.
const worth = 32

// awaits says whether a job had better wait until a prompt is kept that begins as its own does.
func (r *scheduler) awaits(j Job) bool {
	if r.fixed || r.e.kept <= 0 || len(j.Prompt) <= worth {
		return false
	}
	known := -1
	return slices.ContainsFunc(r.alive, func(s *Session) bool {
		if !s.fresh {
			return false
		}
		if known < 0 {
			known = r.find(j).n
		}
		n := common(s.ticket.job.Prompt, j.Prompt)
		return n >= known+worth && (r.cuts() || n == len(s.ticket.job.Prompt))
	})
}

// reclaim frees so many sequences and cells by what is kept, b excepted, or nothing if it cannot.
func (r *scheduler) reclaim(sequences, cells int, b begins) bool {
	held := r.held(b)
	ids, free := len(r.freeIDs), r.freeCells
	for _, p := range r.prefixes {
		if p.aside != nil {
			continue
		}
		if held[p] == 0 {
			ids++
		}
		free += p.own() - max(0, held[p]-p.shared)
	}
	if ids < sequences || free < cells {
		return false
	}
	r.evict(held, false, func() bool { return len(r.freeIDs) >= sequences && r.freeCells >= cells })
	return r.broken == nil
}

// held is how many tokens of each prefix jobs live on, and a job to come that begins so.
func (r *scheduler) held(b begins) map[*prefix]int {
	held := map[*prefix]int{}
	hold := func(p *prefix, n int) {
		for ; p != nil && n > held[p]; p, n = p.of, min(n, p.shared) {
			if !r.cuts() {
				n = len(p.tokens)
			}
			held[p] = n
		}
	}
	hold(b.from, b.n)
	for _, s := range r.alive {
		hold(s.begins.from, s.begins.n)
	}
	return held
}

// evict gives up what is kept and not held, the oldest first, until it is enough. What is set aside goes only where that
// helps, or with what it shares tokens of.
func (r *scheduler) evict(held map[*prefix]int, aside bool, enough func() bool) {
	// Of those last used together the latest comes first: it may share another's cells.
	byAge := slices.SortedFunc(slices.Values(r.prefixes), func(a, b *prefix) int { return cmp.Or(a.used-b.used, b.number-a.number) })
	for _, p := range byAge {
		if enough() {
			break
		}
		n := held[p]
		switch {
		case n == len(p.tokens) || p.aside != nil && !aside:
			continue
		case p.aside != nil:
			r.forget(p)
			continue
		}
		op := Op{Kind: Trim, Seq: p.id, From: int32(n)}
		if n == 0 {
			op = Op{Kind: Drop, Seq: p.id}
		}
		if err := r.do(op); err != nil {
			r.broken = err
			break
		}
		r.freeCells += p.own()
		p.tokens, p.shared = p.tokens[:n], min(p.shared, n)
		p.states = p.states[:min(len(p.states), p.own()*r.width())]
		r.freeCells -= p.own()
		if n == 0 {
			r.freeIDs = append(r.freeIDs, p.id)
		}
		for _, o := range byAge {
			if o.of == p && o.aside != nil && o.shared > n {
				r.forget(o)
			}
		}
		if n == 0 {
			r.forget(p)
		}
	}
	slices.SortFunc(r.freeIDs, func(a, b int32) int { return int(b - a) })
}

// touch makes a prefix, and those whose cells it shares, the last to go.
func (r *scheduler) touch(p *prefix) {
	r.clock++
	for ; p != nil; p = p.of {
		p.used, p.idle = r.clock, r.e.stats.Tokens
	}
}

// keep keeps the prompt that a session has been given, if it is one to keep and there is a sequence for it.
// Its cells, which were the job's, are the prefix's from now on, and the job lives on them.
func (r *scheduler) keep(s *Session) error {
	q := s.begun
	if s.begun = nil; q == nil || r.kept <= 0 {
		return nil
	}
	prompt, states := s.ticket.job.Prompt, s.states
	from, n := s.begins.from, int(s.feed[0].pos)
	if n == 0 {
		from = nil
	}
	for _, p := range r.prefixes {
		if common(p.tokens, prompt) == len(prompt) && (r.cuts() || len(p.tokens) == len(prompt)) { // somebody had the same
			p.learn(states, r.width())
			r.touch(p)
			return nil
		}
	}
	grows := from != nil && n == len(from.tokens) && r.cuts()
	held := r.held(begins{from: from, n: n})
	own := len(prompt) - n
	r.evict(held, true, func() bool { return r.keptCells()+r.asideCells()+own <= r.kept })
	r.evict(held, false, func() bool { return grows || len(r.freeIDs) > 0 })
	if r.broken != nil || r.keptCells()+r.asideCells()+own > r.kept || !grows && len(r.freeIDs) == 0 {
		return r.broken
	}
	p := from
	if !grows {
		last := len(r.freeIDs) - 1
		r.clock++
		p = &prefix{id: r.freeIDs[last], of: from, shared: n, number: r.clock}
		r.freeIDs = r.freeIDs[:last]
		r.prefixes = append(r.prefixes, p)
	}
	if err := r.do(Op{Kind: Fork, Seq: p.id, From: q.id}); err != nil {
		return err
	}
	p.tokens = slices.Clone(prompt)
	p.learn(states, r.width())
	r.touch(p)
	s.begins = begins{from: p, n: len(prompt), prompt: prompt, states: states, cut: r.cuts()}
	s.cells -= own
	s.filled -= own
	q.tip.n -= own
	r.tell()
	return nil
}

// keptCells is the number of those that prefixes fill.
func (r *scheduler) keptCells() int {
	n := 0
	for _, p := range r.prefixes {
		if p.aside == nil {
			n += p.own()
		}
	}
	return n
}
