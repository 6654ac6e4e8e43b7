package decode

import "slices"

// Branch is what one candidate of a block adds to the beam that it grew from.
type Branch struct {
	Parent int     // number of that beam among those that were kept of the block before, the best first
	Text   string  // of the block; it may begin or end inside a UTF-8 character
	Value  float32 // of its last state, NaN without a value function
	Kept   int     // its number among the beams that are kept, -1 where it is pruned
}

// branch notes, before a block, where each beam stands.
func branch(beams []*candidate) {
	for i, c := range beams {
		c.parent, c.began = i, len(c.Text)
	}
}

// branches tells of a block's candidates, of which some are kept.
func (d *decoder) branches(pool, kept []*candidate) {
	if d.req.Branches == nil {
		return
	}
	out := make([]Branch, len(pool))
	for i, c := range pool {
		out[i] = Branch{Parent: c.parent, Text: string(c.Text[min(c.began, len(c.Text)):]), Value: c.value, Kept: slices.Index(kept, c)}
	}
	d.req.Branches(out)
}
