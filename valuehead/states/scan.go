package states

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"sync"
)

// table is what is known of a shard's blocks at one time.
type table struct {
	blocks   []*block
	end      int64    // of the last block that is complete: the next one begins here
	size     int64    // of the file
	finished bool     // the index is there and sound
	faults   []*Error // outside the blocks and before end
	tail     *Error   // what is wrong behind end

	prompts   sync.Once
	promptAt  map[string]place
	promptErr error // a directory that could not be read
}

// place is where a prompt is stored.
type place struct{ block, index int }

func (t *table) trajectories() int {
	if n := len(t.blocks); n > 0 {
		return t.blocks[n-1].end()
	}
	return 0
}

func (t *table) storedPrompts() int {
	if n := len(t.blocks); n > 0 {
		return t.blocks[n-1].endPrompt()
	}
	return 0
}

// load finds the blocks: by the index at the end of the file, or else one after the
// other, going on where the table before ended.
func (r *Reader) load(before *table, size int64) *table {
	if end, err := readAt(r.src, size, size-int64(trailer), 8); err == nil {
		if blocks, to := readIndex(r.src, size, r.key, int64(le.Uint64(end))); to == size {
			return &table{blocks: blocks, end: int64(le.Uint64(end)), size: size, finished: true}
		}
	}
	t := &table{end: r.start, size: size}
	if before != nil && before.end <= size {
		t.blocks, t.end = slices.Clone(before.blocks), before.end
		t.faults = slices.Clone(before.faults)
	}
	r.scan(t)
	return t
}

// scan adds the blocks from t.end on.
func (r *Reader) scan(t *table) {
	for at := t.end; at < t.size; {
		if r.blockAt(t, at) {
			at = t.end
			continue
		}
		if blocks, end := readIndex(r.src, t.size, r.key, at); end > 0 {
			t.blocks, t.end, t.finished = blocks, at, true
			if end < t.size {
				t.tail = r.fault(-1, end, t.size, fmt.Sprintf("%d bytes follow the end", t.size-end), hintDamaged)
			}
			return
		}
		next := r.resync(t, at+1)
		if next < 0 {
			break
		}
		// What follows says how much is missing.
		r.gap(t, at, next)
		at = next
	}
	t.tail = r.tail(t)
}

// head reads the header and directory of the block at offset; it returns nil when none
// stands there whole.
func (r *Reader) head(size, offset int64) *blockHead {
	b, err := readAt(r.src, size, offset, int64(blockFixed))
	if err != nil {
		return nil
	}
	h, n, ok := parseFixed(b)
	if !ok {
		return nil
	}
	all, err := readAt(r.src, size, offset, int64(blockFixed)+n+hashSize)
	if err != nil {
		return nil
	}
	body := all[:len(all)-hashSize]
	if h.sum = hash(r.key, body); h.sum != le.Uint64(all[len(body):]) {
		return nil
	}
	h.directory = body[blockFixed:]
	return &h
}

// blockAt adds the block at offset, if a complete one stands there that may follow.
func (r *Reader) blockAt(t *table, offset int64) bool {
	h := r.head(t.size, offset)
	if h == nil || h.pageBytes > t.size-offset-h.size() || h.number != len(t.blocks) || h.firstTrajectory != t.trajectories() || h.firstPrompt != t.storedPrompts() {
		return false
	}
	d, err := parseDirectory(h, r.schema, r.version)
	if err != nil {
		return false
	}
	b := &block{number: h.number, first: h.firstTrajectory, firstPrompt: h.firstPrompt, entry: entry{
		offset, h.size() + h.pageBytes, h.trajectories, h.prompts, d.rows[len(d.trajectories)], h.sum,
	}}
	b.directory.Store(d)
	t.blocks = append(t.blocks, b)
	t.end = offset + b.length
	return true
}

// resync returns the offset of the first sound block or index from offset on, or -1.
func (r *Reader) resync(t *table, offset int64) int64 {
	const chunk = 1 << 20
	overlap := int64(len(magicBlock) - 1)
	for ; offset < t.size; offset += chunk {
		b, err := readAt(r.src, t.size, offset, min(chunk+overlap, t.size-offset))
		if err != nil {
			return -1
		}
		for i := range b {
			at := offset + int64(i)
			if bytes.HasPrefix(b[i:], []byte(magicBlock)) {
				h := r.head(t.size, at)
				if h != nil && h.number >= len(t.blocks) && h.firstTrajectory >= t.trajectories() && h.firstPrompt >= t.storedPrompts() {
					return at
				}
			} else if bytes.HasPrefix(b[i:], []byte(magicIndex)) {
				if _, end := readIndex(r.src, t.size, r.key, at); end > 0 {
					return at
				}
			}
		}
	}
	return -1
}

// gap notes that the bytes [from, to) hold no sound block, though a sound one, or the
// index, follows them.
func (r *Reader) gap(t *table, from, to int64) {
	t.end = to
	h := r.head(t.size, to)
	if h == nil { // the index, which says all
		return
	}
	n := len(t.blocks)
	if h.number == n {
		t.faults = append(t.faults, r.fault(-1, from, to, "bytes that belong to no block", hintDamaged))
	}
	first, firstPrompt := t.trajectories(), t.storedPrompts()
	for number := n; number < h.number; number++ {
		b := &block{number: number, first: first, firstPrompt: firstPrompt, entry: entry{offset: from, length: to - from}}
		msg := "damaged"
		if number == n {
			b.trajectories, b.prompts = h.firstTrajectory-first, h.firstPrompt-firstPrompt
			first, firstPrompt = b.end(), b.endPrompt()
		}
		if h.number > n+1 {
			msg = fmt.Sprintf("damaged, as are all blocks from %d to %d", n, h.number-1)
		}
		b.fault = r.fault(number, from, to, msg, hintDamaged)
		b.fault.First, b.fault.Count = b.first, b.trajectories
		t.blocks = append(t.blocks, b)
	}
}

// tail describes what follows the last complete block of a shard without a sound index.
func (r *Reader) tail(t *table) *Error {
	left := t.size - t.end
	if left < 0 {
		e := r.fault(-1, r.start/2, t.size, "the header is incomplete: the writer was stopped at once, or the file was cut", hintUnfinished)
		e.err = ErrUnfinished
		return e
	}
	last, _ := readAt(r.src, t.size, t.size-int64(len(magicEnd)), int64(len(magicEnd)))
	begin, _ := readAt(r.src, t.size, t.end, min(int64(len(magicIndex)), left))
	if string(last) == magicEnd || string(begin) == magicIndex && left >= indexSize(len(t.blocks)) {
		return r.fault(-1, t.end, t.size, "the index is damaged", hintDamaged)
	}
	msg := "no end: the writer was stopped, or is still writing, or the file was cut"
	if left > 0 {
		msg = fmt.Sprintf("the last %d bytes are no complete block: the writer was stopped, or is still writing, or the file was cut", left)
	}
	e := r.fault(-1, t.end, t.size, msg, hintUnfinished)
	e.err = ErrUnfinished
	if h := r.head(t.size, t.end); h != nil && h.number == len(t.blocks) {
		if d, err := parseDirectory(h, r.schema, r.version); err == nil {
			e.Block, e.First, e.Count, e.Lost = h.number, h.firstTrajectory, h.trajectories, d.trajectories
		}
	}
	return e
}

// fault describes a fault that is not known to cost trajectories.
func (r *Reader) fault(block int, from, to int64, msg, hint string) *Error {
	return &Error{Path: r.path, Block: block, From: from, To: to, Msg: msg, Hint: hint, First: -1}
}

// blockwise says whether a version is one of those that are blocks between two headers and
// an index.
func blockwise(version int) bool { return version >= 2 && version <= FormatVersion }

// readHeader reads one copy of the header, of version 2 or later, that begins at offset.
func readHeader(src io.ReaderAt, size, offset int64) (header []byte, ok bool) {
	fixed, err := readAt(src, size, offset, int64(headerFixed))
	if err != nil || string(fixed[:len(magicFile)]) != magicFile || !blockwise(int(le.Uint32(fixed[8:]))) || le.Uint32(fixed[12:]) > maxSchema {
		return nil, false
	}
	b, err := readAt(src, size, offset, int64(headerFixed)+int64(le.Uint32(fixed[12:]))+hashSize)
	if err != nil || hash(0, b[:len(b)-hashSize]) != le.Uint64(b[len(b)-hashSize:]) {
		return nil, false
	}
	return b, true
}

// secondHeader looks for the second copy of a header whose first is damaged.
func secondHeader(src io.ReaderAt, size int64) (header []byte, ok bool) {
	b, err := readAt(src, size, 0, min(size, 2*(maxSchema+int64(headerFixed)+hashSize)))
	if err != nil {
		return nil, false
	}
	for from := 1; from < len(b); from++ {
		i := bytes.Index(b[from:], []byte(magicFile))
		if i < 0 {
			break
		}
		from += i
		if header, ok := readHeader(src, size, int64(from)); ok && len(header) == from {
			return header, true
		}
	}
	return nil, false
}
