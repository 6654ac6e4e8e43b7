package states

import (
	"bytes"
	"errors"
	"fmt"
	"os"
)

// OpenAppend continues the unfinished shard at path after its last block that is whole
// and sound. What follows that block, a torn tail, is cut off. A shard that is finished, or
// damaged before its tail, is refused. schema must be the shard's.
func OpenAppend(path string, schema Schema, o Options) (*Writer, error) {
	if schema.Float == "" {
		schema.Float = F16
	}
	w, header, err := newWriter(path, schema, o)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w (start a new shard with Create)", err)
	}
	if err = lockFile(f); err == nil {
		w.out, w.file = f, f
		if err = w.resume(header); err == nil {
			return w, nil
		}
	}
	f.Close()
	return nil, err
}

// resume takes up what the file holds and cuts its tail.
func (w *Writer) resume(header []byte) error {
	st, err := w.file.Stat()
	if err != nil {
		return err
	}
	size := st.Size()
	if size < int64(len(header)) {
		begun, err := readAt(w.file, size, 0, size)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(header, begun) {
			return fmt.Errorf("write %s: not the beginning of a shard with this schema (delete it and collect it anew)", w.path)
		}
		return w.cut(0, header)
	}
	r, err := newReader(w.path, w.file, func() (int64, error) { return size, nil }, nil)
	if err != nil {
		return err
	}
	have, want := r.schema, w.schema
	if err := have.Match(want); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	t := r.table.Load()
	switch {
	case r.version != FormatVersion:
		return fmt.Errorf("write %s: the shard has format version %d, this ivo writes %d (collect it anew, or keep what is there with ivo states repair)", w.path, r.version, FormatVersion)
	case r.key != w.key:
		return fmt.Errorf("write %s: the shard's schema stores other types or prompts, %+v (continue it with its own schema)", w.path, have)
	case t.finished:
		return fmt.Errorf("write %s: the shard is finished (start a new one)", w.path)
	case r.header != nil:
		return r.header
	case len(t.faults) > 0:
		return t.faults[0]
	case !errors.Is(t.tail, ErrUnfinished):
		return t.tail
	}
	// A crash of the system may have lost any of the last writes.
	sound, damaged := 0, error(nil)
	for i, b := range t.blocks {
		if err := r.check(b); err != nil {
			damaged = errors.Join(damaged, err)
		} else if damaged != nil {
			return damaged
		} else {
			sound = i + 1
		}
	}
	w.blocks = t.blocks[:sound]
	w.at = r.start
	for _, b := range w.blocks {
		w.at = b.offset + b.length
		for _, p := range b.directory.Load().prompts {
			w.stored[p.Prompt] = true
		}
	}
	return w.cut(w.at, nil)
}

// cut drops all from offset on and writes b there.
func (w *Writer) cut(offset int64, b []byte) error {
	if err := w.file.Truncate(offset); err != nil {
		return err
	}
	if _, err := w.file.Seek(offset, 0); err != nil {
		return err
	}
	w.at = offset
	return w.put(b)
}

// check decodes all of a block.
func (r *Reader) check(b *block) error {
	d, err := r.directory(b)
	if err != nil {
		return err
	}
	np, nt := d.promptRows[len(d.prompts)], d.rows[len(d.trajectories)]
	err = r.read(b, d, true, 0, np, makeRows(promptRows(r.schema), np))
	return errors.Join(err, r.read(b, d, false, 0, nt, makeRows(trajectoryRows(r.schema), nt)))
}
