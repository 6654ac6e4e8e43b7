package engine

import "slices"

// Whatever fills the context makes every token dearer: llama.cpp's attention on the CPU looks at all cells up to the last
// that is filled, for each token and head, to find those that the token sees. So prompts that no job lives on are copied
// to ordinary memory and leave the context while others decode, and come back when they are wanted. Both ways together
// cost about what a cell costs some dozens of tokens, and a thousandth of decoding it again (docs/log.md).

// idleFor is the number of tokens that are decoded before a prompt that no job lives on is set aside. Tests lower it.
var idleFor = 256

// setAside copies prompts out of the context that nobody has lived on for long.
func (r *scheduler) setAside() {
	if r.fixed || !r.cuts() || r.e.observe != nil {
		return
	}
	now := r.e.stats.Tokens // only this goroutine writes it
	if !slices.ContainsFunc(r.prefixes, func(p *prefix) bool { return p.aside == nil && now-p.idle >= idleFor }) {
		return
	}
	held := r.held(begins{})
	leads := map[*prefix]bool{} // others in the context share their tokens
	for _, p := range r.prefixes {
		if p.aside == nil {
			leads[p.of] = true
		}
		if held[p] > 0 {
			p.idle = now
		}
	}
	for _, p := range slices.Backward(r.prefixes) { // those that share another's cells came after it
		if p.aside != nil || leads[p] || now-p.idle < idleFor {
			continue
		}
		cells, err := r.e.c.Detach(p.id, int32(p.shared))
		if err != nil {
			r.broken = err
			return
		}
		r.freeCells += p.own()
		r.freeIDs = append(r.freeIDs, p.id)
		p.aside = cells
	}
	slices.SortFunc(r.freeIDs, func(a, b int32) int { return int(b - a) })
	r.tell()
}

// fetch brings a prompt that is set aside back into the context, with those whose tokens it shares. It says whether
// it is there.
func (r *scheduler) fetch(p *prefix) bool {
	switch {
	case p == nil || p.aside == nil:
		return true
	case !r.fetch(p.of):
		return false
	}
	b := begins{from: p.of, n: p.shared}
	if !r.reclaim(1, p.own(), b) {
		return false
	}
	last := len(r.freeIDs) - 1
	id, from := r.freeIDs[last], int32(-1)
	if p.of != nil {
		from = p.of.id
	}
	if err := r.e.c.Attach(id, p.aside, from, int32(p.shared)); err != nil {
		r.forget(p) // it can be decoded again
		return false
	}
	r.freeIDs = r.freeIDs[:last]
	r.freeCells -= p.own()
	p.id, p.aside, p.idle = id, nil, r.e.stats.Tokens
	r.fetched++
	return true
}

// forget takes a prompt off the list, and those set aside that share its tokens.
func (r *scheduler) forget(p *prefix) {
	r.prefixes = slices.DeleteFunc(r.prefixes, func(o *prefix) bool { return o == p })
	for _, o := range slices.Clone(r.prefixes) {
		if o.of == p && o.aside != nil {
			r.forget(o)
		}
	}
}

// asideCells is the number of cells that what is set aside would fill.
func (r *scheduler) asideCells() int {
	n := 0
	for _, p := range r.prefixes {
		if p.aside != nil {
			n += p.own()
		}
	}
	return n
}
