package states

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
)

const (
	defaultBlock = 1 << 20
	defaultPage  = 128 << 10
)

// Options of a [Writer]. The zero value is usable.
type Options struct {
	// BlockBytes closes a block as soon as it holds that many bytes before compression; 0
	// means 1 MiB. A block is what a crash can cost, and what a reader that streams
	// minibatches holds at a time.
	BlockBytes int

	pageBytes int // before compression, of a page
	version   int // of the format; 0 means FormatVersion
}

// Writer appends to one shard. It is not safe for concurrent use; any number of readers
// may read the shard meanwhile.
type Writer struct {
	path    string
	schema  Schema
	options Options
	out     io.Writer
	file    *os.File // nil when out belongs to the caller
	key     uint64
	at      int64    // where the next block goes
	blocks  []*block // written
	err     error    // once a write has failed

	// The block under way. Its floats are copied: the caller may use its own again.
	dir       directory
	bytes     int
	prompt    rows
	rows      rows
	stored    map[string]bool // ids of the shard's prompts
	pages     []byte
	assembled []byte
}

// Create starts a new shard at path, which must not exist. Close it to finish it.
func Create(path string, schema Schema, o Options) (*Writer, error) {
	if schema.Float == "" {
		schema.Float = F16
	}
	w, header, err := newWriter(path, schema, o)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("write %s: %w (continue it with OpenAppend, or choose another name)", path, fs.ErrExist)
	}
	if err != nil {
		return nil, fmt.Errorf("%w (choose a folder you may write to)", err)
	}
	w.out, w.file = f, f
	if err = lockFile(f); err == nil {
		if err = w.put(header); err == nil {
			return w, syncDir(filepath.Dir(path))
		}
	}
	f.Close()
	return nil, err
}

func newWriter(path string, schema Schema, o Options) (w *Writer, header []byte, err error) {
	if err := schema.Validate(); err != nil {
		return nil, nil, fmt.Errorf("write %s: %w", path, err)
	}
	if o.BlockBytes <= 0 {
		o.BlockBytes = defaultBlock
	}
	if o.pageBytes <= 0 {
		o.pageBytes = defaultPage
	}
	if o.version == 0 {
		o.version = FormatVersion
	}
	w = &Writer{path: path, schema: schema, options: o, stored: map[string]bool{}}
	if header, w.key, err = appendHeader(nil, schema, o.version); err != nil {
		return nil, nil, fmt.Errorf("write %s: %w", path, err)
	}
	w.reset()
	return w, append(header, header...), nil
}

// reset begins an empty block.
func (w *Writer) reset() {
	w.bytes = 0
	w.dir = directory{
		promptPage: max(1, w.options.pageBytes/promptRows(w.schema).bytes()), page: max(1, w.options.pageBytes/trajectoryRows(w.schema).bytes()),
		prompts: w.dir.prompts[:0], trajectories: w.dir.trajectories[:0], rewards: w.dir.rewards[:0], pages: w.dir.pages[:0],
	}
	w.prompt.empty()
	w.rows.empty()
}

// AppendPrompt stores a prompt, once and before its trajectories.
func (w *Writer) AppendPrompt(p *Prompt) error {
	err := p.check(w.schema)
	size := len(p.ID) + len(p.Tokens)*promptRows(w.schema).bytes()
	switch {
	case w.err != nil:
		return w.err
	case err != nil:
	case w.stored[p.ID]:
		err = errors.New("the shard holds it already (store a prompt once)")
	default:
		err = w.room(size)
	}
	if err != nil {
		return fmt.Errorf("write %s: prompt %q: %w", w.path, p.ID, err)
	}
	if w.err != nil {
		return w.err
	}
	w.stored[p.ID] = true
	w.dir.prompts = append(w.dir.prompts, Meta{Prompt: p.ID, Tokens: len(p.Tokens)})
	w.prompt.tokens = append(w.prompt.tokens, p.Tokens...)
	w.prompt.hidden = append(w.prompt.hidden, p.Hidden...)
	return w.grow(size)
}

// Append stores trajectories. In a shard with prompts theirs must be stored.
func (w *Writer) Append(trajectories ...Trajectory) error {
	for i := range trajectories {
		if err := w.append(&trajectories[i], nan); err != nil {
			return err
		}
	}
	return nil
}

var nan = float32(math.NaN())

// append stores a trajectory; a shard of version 2 keeps its reward.
func (w *Writer) append(t *Trajectory, reward float32) error {
	err := t.check(w.schema)
	size := len(t.Prompt) + len(t.Tokens)*trajectoryRows(w.schema).bytes()
	switch {
	case w.err != nil:
		return w.err
	case err != nil:
	case w.schema.Prompts && !w.stored[t.Prompt]:
		err = errors.New("its prompt is not stored (AppendPrompt before the trajectories of the prompt)")
	default:
		err = w.room(size)
	}
	if err != nil {
		return fmt.Errorf("write %s: prompt %q, sample %d: %w", w.path, t.Prompt, t.Sample, err)
	}
	w.dir.trajectories = append(w.dir.trajectories, Meta{t.Prompt, t.Sample, len(t.Tokens)})
	if w.options.version < 3 {
		w.dir.rewards = append(w.dir.rewards, reward)
	}
	w.rows.tokens = append(w.rows.tokens, t.Tokens...)
	w.rows.scalars = append(w.rows.scalars, t.Scalars...)
	w.rows.candidates = append(w.rows.candidates, t.Candidates...)
	w.rows.logProbs = append(w.rows.logProbs, t.CandidateLogProbs...)
	w.rows.hidden = append(w.rows.hidden, t.Hidden...)
	return w.grow(size)
}

// room makes sure that size bytes more fit in the block.
func (w *Writer) room(size int) error {
	const limit int64 = maxRaw
	if int64(size) > limit {
		return fmt.Errorf("%d bytes of states, at most %d fit (tap fewer layers or sample shorter responses)", size, limit)
	}
	if int64(w.bytes)+int64(size) > limit {
		return w.Flush()
	}
	return nil
}

func (w *Writer) grow(size int) error {
	if w.bytes += size; w.bytes >= w.options.BlockBytes {
		return w.Flush()
	}
	return nil
}

// Flush closes the block under way, so that readers see all that was appended. Small
// blocks compress less.
func (w *Writer) Flush() error {
	if w.err != nil || len(w.dir.prompts)+len(w.dir.trajectories) == 0 {
		return w.err
	}
	w.pages = w.pages[:0]
	w.encode(promptRows(w.schema), w.prompt, w.dir.promptPage)
	w.encode(trajectoryRows(w.schema), w.rows, w.dir.page)
	h := blockHead{
		number: len(w.blocks), trajectories: len(w.dir.trajectories), prompts: len(w.dir.prompts),
		pageBytes: int64(len(w.pages)), directory: appendDirectory(nil, &w.dir),
	}
	if len(h.directory) > maxDirectory {
		w.err = fmt.Errorf("write %s: %d bytes of ids in one block (lower Options.BlockBytes)", w.path, len(h.directory))
		return w.err
	}
	if n := len(w.blocks); n > 0 {
		h.firstTrajectory, h.firstPrompt = w.blocks[n-1].end(), w.blocks[n-1].endPrompt()
	}
	at := w.at
	w.assembled = append(appendBlockHead(w.assembled[:0], w.key, &h), w.pages...)
	if err := w.put(w.assembled); err != nil {
		return err
	}
	w.blocks = append(w.blocks, &block{
		number: h.number, first: h.firstTrajectory, firstPrompt: h.firstPrompt,
		entry: entry{at, w.at - at, h.trajectories, h.prompts, len(w.rows.tokens), h.sum},
	})
	w.reset()
	return nil
}

func (w *Writer) encode(k rowKind, r rows, size int) {
	type packed struct {
		page
		data *[]byte
	}
	all := make([]packed, pagesOf(len(r.tokens), size))
	together(len(all), func(i int) {
		raw, data := scratch.Get().(*[]byte), scratch.Get().(*[]byte)
		defer scratch.Put(raw)
		*data, all[i].page, *raw = k.encode((*data)[:0], r.slice(k, i*size, min((i+1)*size, len(r.tokens))), *raw, w.options.version)
		all[i].data, all[i].sum = data, hash(w.key, *data)
	})
	for _, p := range all {
		p.offset = int64(len(w.pages))
		w.pages = append(w.pages, *p.data...)
		w.dir.pages = append(w.dir.pages, p.page)
		scratch.Put(p.data)
	}
}

// put writes a piece of the file at once.
func (w *Writer) put(b []byte) error {
	if _, err := w.out.Write(b); err != nil {
		if w.file != nil {
			err = fmt.Errorf("write %s: %w (free some space and continue the shard with OpenAppend)", w.path, err)
		}
		w.err = err
		return err
	}
	w.at += int64(len(b))
	return nil
}

// Sync is Flush, and has the system write what was appended to the disk.
func (w *Writer) Sync() error {
	if err := w.Flush(); err != nil {
		return err
	}
	if err := w.file.Sync(); err != nil {
		w.err = fmt.Errorf("write %s: %w (check the disk, then continue the shard with OpenAppend)", w.path, err)
	}
	return w.err
}

// Suspend syncs and closes the shard without finishing it: OpenAppend goes on.
func (w *Writer) Suspend() error {
	return errors.Join(w.Sync(), w.file.Close())
}

// Close finishes the shard with its index and closes it. A shard that was not closed
// so, by whatever end, is continued with OpenAppend.
func (w *Writer) Close() error {
	err := w.finish()
	if err == nil {
		err = w.file.Sync()
	}
	return errors.Join(err, w.file.Close())
}

func (w *Writer) finish() error {
	if err := w.Flush(); err != nil {
		return err
	}
	return w.put(appendIndex(nil, w.key, w.at, w.blocks))
}

// syncDir makes a new file's name durable, as far as the file system allows it.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	d.Sync()
	return d.Close()
}
