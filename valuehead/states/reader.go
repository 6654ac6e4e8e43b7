package states

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// Reader reads one shard, finished or not. Its methods may be called concurrently.
type Reader struct {
	path    string
	src     io.ReaderAt
	size    func() (int64, error) // of the file now
	close   func() error
	version int
	schema  Schema
	key     uint64
	start   int64  // of the first block
	header  *Error // a damaged copy of the header, if the other one is sound

	refreshing sync.Mutex
	table      atomic.Pointer[table]
	last       atomic.Pointer[decodedPage]
}

// decodedPage is kept for the next access to the same rows.
type decodedPage struct {
	block *block
	page  int
	rows  rows
}

// Open opens the shard at path and finds its blocks. A shard that has no sound header
// at all is an error; other faults are found by what reads them. Close the reader after use.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	size := func() (int64, error) {
		st, err := f.Stat()
		if err != nil {
			return 0, err
		}
		return st.Size(), nil
	}
	r, err := newReader(path, f, size, f.Close)
	if err != nil {
		f.Close()
	}
	return r, err
}

func newReader(path string, src io.ReaderAt, size func() (int64, error), closer func() error) (*Reader, error) {
	n, err := size()
	if err != nil {
		return nil, err
	}
	r := &Reader{path: path, src: src, size: size, close: closer}
	header, ok := readHeader(src, n, 0)
	if !ok {
		if header, ok = secondHeader(src, n); !ok {
			return r.otherHeader(n)
		}
		r.header = r.fault(-1, 0, int64(len(header)), "the first copy of the header is damaged", hintDamaged)
	}
	r.version = int(le.Uint32(header[len(magicFile):]))
	if err := json.Unmarshal(header[headerFixed:len(header)-hashSize], &r.schema); err != nil {
		return nil, r.fault(-1, 0, int64(len(header)), fmt.Sprintf("the schema cannot be read: %v", err), hintDamaged)
	}
	if err := r.schema.Validate(); err != nil || r.schema.Float == "" {
		return nil, r.fault(-1, 0, int64(len(header)), fmt.Sprintf("the schema makes no sense: %v", err), hintDamaged)
	}
	r.key = le.Uint64(header[len(header)-hashSize:])
	r.start = 2 * int64(len(header))
	if second, err := readAt(src, n, int64(len(header)), int64(len(header))); err == nil && !slices.Equal(second, header) {
		r.header = r.fault(-1, int64(len(header)), r.start, "the second copy of the header is damaged", hintDamaged)
	}
	r.table.Store(r.load(nil, n))
	return r, nil
}

// otherHeader says what a file without a sound header of this version is.
func (r *Reader) otherHeader(size int64) (*Reader, error) {
	fixed, err := readAt(r.src, size, 0, int64(headerFixed))
	switch {
	case err != nil || string(fixed[:len(magicFile)]) != magicFile:
		return nil, r.fault(-1, 0, 0, "not a shard of cached states", hintPath)
	case le.Uint32(fixed[8:]) == 1:
		return openV1(r, size)
	case le.Uint32(fixed[8:]) > FormatVersion:
		return nil, r.fault(-1, 0, 0, fmt.Sprintf("format version %d, this ivo reads %d", le.Uint32(fixed[8:]), FormatVersion), "collect the states again, or use the ivo that wrote them")
	}
	return nil, r.fault(-1, 0, size, "its header is damaged or incomplete", "collect this shard anew")
}

// Close closes the file.
func (r *Reader) Close() error { return r.close() }

// Refresh looks for what a writer has appended since. What was read before keeps its
// place.
func (r *Reader) Refresh() error {
	r.refreshing.Lock()
	defer r.refreshing.Unlock()
	t := r.table.Load()
	size, err := r.size()
	if err == nil && (size != t.size || !t.finished) {
		r.table.Store(r.load(t, size))
	}
	return err
}

// Path is the file, Version its format, Schema what its rows mean; Schema().Float is
// never empty.
func (r *Reader) Path() string   { return r.path }
func (r *Reader) Version() int   { return r.version }
func (r *Reader) Schema() Schema { return r.schema }

// Expect returns an error that names the difference when the shard's schema is not want.
func (r *Reader) Expect(want Schema) error {
	if err := r.schema.Match(want); err != nil {
		return fmt.Errorf("%s: %w", r.path, err)
	}
	return nil
}

// Finished reports whether the shard is closed by a sound index.
func (r *Reader) Finished() bool { return r.table.Load().finished }

// Len is the number of trajectories, Prompts that of stored prompts, Blocks that of the
// blocks that hold them; those that turn out to be damaged count too.
func (r *Reader) Len() int     { return r.table.Load().trajectories() }
func (r *Reader) Prompts() int { return r.table.Load().storedPrompts() }
func (r *Reader) Blocks() int  { return len(r.table.Load().blocks) }

// Faults are the faults known without reading the blocks; see [Verify].
func (r *Reader) Faults() []*Error {
	t := r.table.Load()
	var out []*Error
	if r.header != nil {
		out = append(out, r.header)
	}
	out = append(out, t.faults...)
	if t.tail != nil {
		out = append(out, t.tail)
	}
	return out
}

// At returns trajectory i of the shard without its rows.
func (r *Reader) At(i int) (Meta, error) {
	b, d, err := r.find(i)
	if err != nil {
		return Meta{}, err
	}
	return d.trajectories[i-b.first], nil
}

// Reward is the reward of trajectory i that a shard of version 1 or 2 keeps: NaN if it was
// not scored, and in later versions.
func (r *Reader) Reward(i int) (float32, error) {
	b, d, err := r.find(i)
	if err != nil || d.rewards == nil {
		return nan, err
	}
	return d.rewards[i-b.first], nil
}

// Rows reads the hidden states of positions [from, to) of trajectory i into dst,
// [to-from][Schema.Width], and decodes little more than that.
func (r *Reader) Rows(i, from, to int, dst []float32) error {
	b, d, err := r.find(i)
	if err != nil {
		return err
	}
	n := d.trajectories[i-b.first].Tokens
	if from < 0 || from > to || to > n || len(dst) != (to-from)*r.schema.Width {
		return fmt.Errorf("%s: positions %d to %d of the %d of trajectory %d into %d floats (ask for positions that are there)", r.path, from, to, n, i, len(dst))
	}
	k := trajectoryRows(r.schema)
	got := makeRows(rowKind{k.scalars, k.candidates, 0, k.float}, to-from)
	got.hidden = dst
	row := d.rows[i-b.first]
	return r.read(b, d, false, row+from, row+to, got)
}

// Trajectory reads trajectory i of the shard.
func (r *Reader) Trajectory(i int) (Trajectory, error) {
	b, d, err := r.find(i)
	if err != nil {
		return Trajectory{}, err
	}
	i -= b.first
	all := makeRows(trajectoryRows(r.schema), d.trajectories[i].Tokens)
	if err := r.read(b, d, false, d.rows[i], d.rows[i+1], all); err != nil {
		return Trajectory{}, err
	}
	return d.trajectories[i].with(all), nil
}

// Block reads the trajectories of block b. To stream a store that is larger than memory,
// read blocks in any order; see also [Set.Shuffle].
func (r *Reader) Block(b int) ([]Trajectory, error) {
	t := r.table.Load()
	if b < 0 || b >= len(t.blocks) {
		return nil, fmt.Errorf("%s: block %d of %d (ask for a block that is there)", r.path, b, len(t.blocks))
	}
	bl := t.blocks[b]
	d, err := r.directory(bl)
	if err != nil {
		return nil, err
	}
	k := trajectoryRows(r.schema)
	all := makeRows(k, d.rows[len(d.trajectories)])
	if err := r.read(bl, d, false, 0, len(all.tokens), all); err != nil {
		return nil, err
	}
	out := make([]Trajectory, len(d.trajectories))
	for i, m := range d.trajectories {
		out[i] = m.with(all.slice(k, d.rows[i], d.rows[i+1]))
	}
	return out, nil
}

func (m Meta) with(r rows) Trajectory {
	return Trajectory{
		Prompt: m.Prompt, Sample: m.Sample, Tokens: r.tokens, Hidden: r.hidden, Scalars: r.scalars,
		Candidates: r.candidates, CandidateLogProbs: r.logProbs,
	}
}

// All yields the trajectories that are readable, block by block, and an *Error for each
// fault of the shard: a block that is damaged, where it stands, and all else at the end. An
// unfinished shard has the fault [ErrUnfinished]. The shard is whole only when the
// sequence ends without one.
func (r *Reader) All() iter.Seq2[Trajectory, error] {
	return func(yield func(Trajectory, error) bool) {
		faults := r.Faults()
		for b := range r.Blocks() {
			block, err := r.Block(b)
			if err != nil && !yield(Trajectory{}, err) {
				return
			}
			for _, t := range block {
				if !yield(t, nil) {
					return
				}
			}
		}
		for _, f := range faults {
			if !yield(Trajectory{}, f) {
				return
			}
		}
	}
}

// Prompt reads the prompt with this id.
func (r *Reader) Prompt(id string) (Prompt, error) {
	t := r.table.Load()
	at, err := r.promptTable(t)
	p, ok := at[id]
	switch {
	case ok:
		return r.promptAt(t.blocks[p.block], p.index)
	case err != nil:
		return Prompt{}, err
	}
	return Prompt{}, fmt.Errorf("%s: prompt %q is not stored (collect the states again with the prompts)", r.path, id)
}

// promptTable says where the prompts are; the error is of a directory that is damaged.
func (r *Reader) promptTable(t *table) (map[string]place, error) {
	t.prompts.Do(func() {
		t.promptAt = map[string]place{}
		for i, b := range t.blocks {
			d, err := r.directory(b)
			if err != nil {
				t.promptErr = err
				continue
			}
			for k, p := range d.prompts {
				t.promptAt[p.Prompt] = place{i, k}
			}
		}
	})
	return t.promptAt, t.promptErr
}

// promptAt reads prompt i of a block.
func (r *Reader) promptAt(b *block, i int) (Prompt, error) {
	d, err := r.directory(b)
	if err != nil {
		return Prompt{}, err
	}
	all := makeRows(promptRows(r.schema), d.prompts[i].Tokens)
	if err := r.read(b, d, true, d.promptRows[i], d.promptRows[i+1], all); err != nil {
		return Prompt{}, err
	}
	return Prompt{ID: d.prompts[i].Prompt, Tokens: all.tokens, Hidden: all.hidden}, nil
}
