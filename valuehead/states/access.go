package states

import (
	"fmt"
	"slices"
	"sort"
	"sync"
)

// scratch is memory for pages.
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
		if d, err := parseDirectory(h, r.schema, r.version); err == nil {
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
	w := window{r: r, b: b, d: d}
	w.data, w.raw = scratch.Get().(*[]byte), scratch.Get().(*[]byte)
	defer func() { scratch.Put(w.data); scratch.Put(w.raw) }()
	last := base + (to-1)/per
	for i := from / per; i*per < to; i++ {
		lo, hi := i*per, min((i+1)*per, total)
		if from <= lo && hi <= to {
			if err := w.page(base+i, last, k, dst.slice(k, lo-from, hi-from)); err != nil {
				return r.pageFault(b, d, base+i, lo, hi, prompts, err)
			}
			continue
		}
		kept := r.last.Load()
		if kept == nil || kept.block != b || kept.page != base+i {
			kept = &decodedPage{b, base + i, makeRows(k, hi-lo)}
			if err := w.page(base+i, last, k, kept.rows); err != nil {
				return r.pageFault(b, d, base+i, lo, hi, prompts, err)
			}
			r.last.Store(kept)
		}
		begin, end := max(from, lo), min(to, hi)
		kept.rows.slice(k, begin-lo, end-lo).to(dst.slice(k, begin-from, end-from))
	}
	return nil
}

// window is a stretch of a block's pages that was read from the file at once.
type window struct {
	r            *Reader
	b            *block
	d            *directory
	data, raw    *[]byte // pages [first, first+pages), and memory for one before compression
	first, pages int
}

const windowBytes = 4 << 20

// page decodes page i. If it must be read, those behind it up to last come with it.
func (w *window) page(i, last int, k rowKind, dst rows) error {
	p := w.d.pages[i]
	if i >= w.first+w.pages {
		n := p.bytes
		for w.first, w.pages = i, 1; i+w.pages <= last && n+w.d.pages[i+w.pages].bytes <= windowBytes; w.pages++ {
			n += w.d.pages[i+w.pages].bytes
		}
		*w.data = slices.Grow((*w.data)[:0], n)[:n]
		if k, err := w.r.src.ReadAt(*w.data, w.d.pagesBegin(w.b)+p.offset); k < n {
			return err
		}
	}
	at := p.offset - w.d.pages[w.first].offset
	data := (*w.data)[at : at+int64(p.bytes)]
	if hash(w.r.key, data) != p.sum {
		return errPage
	}
	var err error
	*w.raw, err = k.decode(dst, p, data, *w.raw)
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
