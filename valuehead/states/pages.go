package states

import (
	"fmt"
	"sort"
	"sync"
)

// scratch is memory for pages before compression.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

// find returns the block of trajectory i with its directory.
func (r *Reader) find(i int) (*block, *directory, error) {
	t := r.table.Load()
	if i < 0 || i >= t.trajectories() {
		return nil, nil, fmt.Errorf("%s: trajectory %d of %d (ask for one that is there)", r.path, i, t.trajectories())
	}
	b := t.blocks[sort.Search(len(t.blocks), func(k int) bool { return t.blocks[k].end() > i })]
	d, err := r.directory(b)
	return b, d, err
}

// directory reads the directory of a block, once.
func (r *Reader) directory(b *block) (*directory, error) {
	if b.fault != nil {
		return nil, b.fault
	}
	if d := b.directory.Load(); d != nil {
		return d, nil
	}
	h := r.head(b.offset+b.length, b.offset)
	if h != nil && h.sum == b.sum && h.number == b.number && h.firstTrajectory == b.first && h.firstPrompt == b.firstPrompt &&
		h.trajectories == b.trajectories && h.prompts == b.prompts && h.size()+h.pageBytes == b.length {
		if d, err := parseDirectory(h, r.schema); err == nil {
			b.directory.Store(d)
			return d, nil
		}
	}
	e := r.fault(b.number, b.offset, b.offset+b.length, "the header of the block is damaged", hintDamaged)
	e.First, e.Count = b.first, b.trajectories
	return nil, e
}

// read fills dst with rows [from, to) of a block: of its prompts or of its trajectories.
func (r *Reader) read(b *block, d *directory, prompts bool, from, to int, dst rows) error {
	k, per, total, base := trajectoryRows(r.schema), d.page, d.rows[len(d.trajectories)], pagesOf(d.promptRows[len(d.prompts)], d.promptPage)
	if prompts {
		k, per, total, base = promptRows(r.schema), d.promptPage, d.promptRows[len(d.prompts)], 0
	}
	if from == to {
		return nil
	}
	for i := from / per; i*per < to; i++ {
		lo, hi := i*per, min((i+1)*per, total)
		if from <= lo && hi <= to {
			if err := r.page(b, d, base+i, k, dst.slice(k, lo-from, hi-from)); err != nil {
				return r.pageFault(b, d, base+i, lo, hi, prompts, err)
			}
			continue
		}
		last := r.last.Load()
		if last == nil || last.block != b || last.page != base+i {
			last = &decodedPage{b, base + i, makeRows(k, hi-lo)}
			if err := r.page(b, d, base+i, k, last.rows); err != nil {
				return r.pageFault(b, d, base+i, lo, hi, prompts, err)
			}
			r.last.Store(last)
		}
		begin, end := max(from, lo), min(to, hi)
		part := last.rows.slice(k, begin-lo, end-lo)
		into := dst.slice(k, begin-from, end-from)
		copy(into.tokens, part.tokens)
		copy(into.scalars, part.scalars)
		copy(into.hidden, part.hidden)
	}
	return nil
}

// page decodes page i of a block.
func (r *Reader) page(b *block, d *directory, i int, k rowKind, dst rows) error {
	p := d.pages[i]
	data, err := readAt(r.src, b.offset+b.length, d.pagesBegin(b)+p.offset, int64(p.bytes))
	if err != nil {
		return err
	}
	if hash(r.key, data) != p.sum {
		return errPage
	}
	buf := scratch.Get().(*[]byte)
	defer scratch.Put(buf)
	*buf, err = k.decode(dst, p, data, *buf)
	return err
}

// pagesBegin is the offset of the block's first page.
func (d *directory) pagesBegin(b *block) int64 {
	at := b.offset + b.length
	if n := len(d.pages); n > 0 {
		at -= d.pages[n-1].offset + int64(d.pages[n-1].bytes)
	}
	return at
}

// pageFault names the trajectories that have rows in [lo, hi), which page i held.
func (r *Reader) pageFault(b *block, d *directory, i, lo, hi int, prompts bool, err error) error {
	at := d.pagesBegin(b) + d.pages[i].offset
	if prompts {
		return r.fault(b.number, at, at+int64(d.pages[i].bytes), fmt.Sprintf("prompts are damaged (%v)", err), hintDamaged)
	}
	e := r.fault(b.number, at, at+int64(d.pages[i].bytes), fmt.Sprintf("states are damaged (%v)", err), hintDamaged)
	for k, t := range d.trajectories {
		if d.rows[k] < hi && d.rows[k+1] > lo {
			if e.Count == 0 {
				e.First = b.first + k
			}
			e.Count++
			e.Lost = append(e.Lost, t)
		}
	}
	return e
}
