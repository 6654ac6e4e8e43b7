package states

import (
	"fmt"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
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
	w := window{r: r, b: b, d: d, data: scratch.Get().(*[]byte)}
	defer scratch.Put(w.data)
	for first, last := base+from/per, base+(to-1)/per; first <= last; first += w.pages {
		faults := make([]error, last-first+1)
		kept := r.last.Load()
		if kept != nil && (kept.block != b || kept.page < first || kept.page > last) {
			kept = nil
		}
		if w.pages = 1; kept == nil || first < last {
			faults[0] = w.load(first, last)
		}
		if faults[0] == nil {
			together(w.pages, func(j int) {
				lo, hi := (first+j-base)*per, min((first+j-base+1)*per, total)
				begin, end := max(from, lo), min(to, hi)
				rows := dst.slice(k, begin-from, end-from)
				switch {
				case kept != nil && kept.page == first+j:
					kept.rows.slice(k, begin-lo, end-lo).to(rows)
				case begin == lo && end == hi:
					faults[j] = w.page(first+j, k, rows)
				default:
					whole := &decodedPage{b, first + j, makeRows(k, hi-lo)}
					if faults[j] = w.page(first+j, k, whole.rows); faults[j] == nil {
						whole.rows.slice(k, begin-lo, end-lo).to(rows)
						r.last.Store(whole)
					}
				}
			})
		}
		for j, err := range faults {
			if err != nil {
				i := first + j - base
				return r.pageFault(b, d, first+j, i*per, min((i+1)*per, total), prompts, err)
			}
		}
	}
	return nil
}

// together does n things, by as many goroutines as there are processors.
func together(n int, do func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers < 2 {
		for i := range n {
			do(i)
		}
		return
	}
	var next atomic.Int64
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(i)
			}
		})
	}
	done.Wait()
}

// window is a stretch of a block's pages that was read from the file at once.
type window struct {
	r            *Reader
	b            *block
	d            *directory
	data         *[]byte // pages [first, first+pages)
	first, pages int
}

const windowBytes = 4 << 20

// load reads page i and those behind it up to last, as far as they fit.
func (w *window) load(i, last int) error {
	n := w.d.pages[i].bytes
	for w.first, w.pages = i, 1; i+w.pages <= last && n+w.d.pages[i+w.pages].bytes <= windowBytes; w.pages++ {
		n += w.d.pages[i+w.pages].bytes
	}
	*w.data = slices.Grow((*w.data)[:0], n)[:n]
	if k, err := w.r.src.ReadAt(*w.data, w.d.pagesBegin(w.b)+w.d.pages[i].offset); k < n {
		return err
	}
	return nil
}

// page decodes page i, which is loaded.
func (w *window) page(i int, k rowKind, dst rows) error {
	p := w.d.pages[i]
	at := p.offset - w.d.pages[w.first].offset
	data := (*w.data)[at : at+int64(p.bytes)]
	if hash(w.r.key, data) != p.sum {
		return errPage
	}
	raw := scratch.Get().(*[]byte)
	defer scratch.Put(raw)
	var err error
	*raw, err = k.decode(dst, p, data, *raw)
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
