package states

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
)

// readAll calls all that reads a shard: it must end, and may find faults, no more.
func readAll(t *testing.T, data []byte) {
	r, err := memory(data)
	if err != nil {
		return
	}
	for range r.All() {
	}
	for i := range r.Len() {
		m, err := r.At(i)
		if err != nil {
			continue
		}
		r.Rows(i, 0, m.Tokens, make([]float32, m.Tokens*r.Schema().Width))
		r.Trajectory(i)
		r.Prompt(m.Prompt)
	}
	if _, err := inspect(context.Background(), r, nil); err != nil {
		t.Error(err)
	}
}

// FuzzOpen reads any bytes as a shard.
func FuzzOpen(f *testing.F) {
	for _, finished := range []bool{true, false} {
		v := newVictim(f, promptSchema, finished)
		f.Add(v.data)
		f.Add(v.data[:len(v.data)-30])
	}
	for name := range old {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(readAll)
}

// FuzzBlock reads any bytes as the directory and the pages of a block, under checksums
// that fit.
func FuzzBlock(f *testing.F) {
	schema := promptSchema
	schema.Candidates = 2
	for _, v := range []*victim{newVictim(f, schema, false), oldVictim(f)} {
		r, err := memory(v.data)
		if err != nil {
			f.Fatal(err)
		}
		for _, b := range v.blocks {
			h := r.head(r.table.Load().size, b.offset)
			f.Add(r.version, h.trajectories, h.prompts, h.directory, v.data[b.offset+h.size():b.offset+b.length])
		}
	}
	f.Fuzz(func(t *testing.T, version, trajectories, prompts int, directory, pages []byte) {
		schema := schema
		if trajectories < 0 || prompts < 0 || !blockwise(version) {
			return
		}
		if version == 2 {
			schema.Candidates = 0
		}
		header, key, err := appendHeader(nil, schema, version)
		if err != nil {
			t.Fatal(err)
		}
		h := blockHead{trajectories: trajectories, prompts: prompts, directory: directory, pageBytes: int64(len(pages))}
		d, err := parseDirectory(&h, schema, version)
		if err != nil || d.rows[trajectories]+d.promptRows[prompts] > 1<<20 {
			return // more rows than a fuzz test should ask memory for
		}
		at := 0
		for i, p := range d.pages {
			d.pages[i].sum = hash(key, pages[at:at+p.bytes])
			at += p.bytes
		}
		h.directory = appendDirectory(nil, d)
		readAll(t, append(appendBlockHead(bytes.Repeat(header, 2), key, &h), pages...))
	})
}
