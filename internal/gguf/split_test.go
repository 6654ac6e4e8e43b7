package gguf_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// shard is one file of a split model, as llama-gguf-split would write it.
type shard struct {
	name    string
	kvs     []gguf.KV
	tensors []gguf.Tensor
}

// shards are a sound model in three files.
func shards() []shard {
	all := make([]shard, 3)
	for i := range all {
		all[i] = shard{
			name: fmt.Sprintf("m-%05d-of-00003.gguf", i+1),
			kvs: []gguf.KV{
				{Key: "split.no", Value: uint16(i)}, {Key: "split.count", Value: uint16(3)}, {Key: "split.tensors.count", Value: int32(3)},
			},
			tensors: []gguf.Tensor{{Name: fmt.Sprintf("t%d", i), Shape: []uint64{1}, Data: []float32{float32(i)}}},
		}
	}
	return all
}

func writeShards(t *testing.T, all []shard) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, s := range all {
		if err := gguf.Write(filepath.Join(dir, s.name), s.kvs, s.tensors); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadModel(t *testing.T) {
	dir := writeShards(t, shards())
	f, err := gguf.ReadModel(filepath.Join(dir, "m-00001-of-00003.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(f.Parts()); n != 3 {
		t.Fatalf("%d parts", n)
	}
	for i, p := range f.Parts() {
		data, err := p.ReadF32(fmt.Sprintf("t%d", i))
		if err != nil || data[0] != float32(i) {
			t.Errorf("part %d: %v, %v", i, data, err)
		}
	}

	one, err := gguf.ReadModel(write(t))
	if err != nil || len(one.Parts()) != 1 || one.Parts()[0] != one {
		t.Errorf("an unsplit file: %v, %v", one, err)
	}
}

// A split model with a fault is refused by the name of the file that has it.
func TestReadModelRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		edit             func(all []shard) []shard
		open, file, want string // want stands in the error
	}{
		"missing file":        {edit: func(a []shard) []shard { return a[:2] }, file: "m-00003-of-00003.gguf", want: "file 3 of the model's 3 is missing"},
		"later file":          {open: "m-00002-of-00003.gguf", file: "m-00002-of-00003.gguf", want: "m-00001-of-00003.gguf)"},
		"later file, alone":   {edit: func(a []shard) []shard { a[2].name = "x.gguf"; return a }, open: "x.gguf", file: "x.gguf", want: "ends in -00001-of-00003.gguf"},
		"renamed":             {edit: func(a []shard) []shard { a[0].name = "m.gguf"; return a }, open: "m.gguf", file: "m.gguf", want: "not named so"},
		"named of another":    {edit: func(a []shard) []shard { a[0].name = "m-00001-of-00004.gguf"; return a }, open: "m-00001-of-00004.gguf", file: "m-00001-of-00004.gguf", want: "not named so"},
		"swapped":             {edit: func(a []shard) []shard { a[1].name, a[2].name = a[2].name, a[1].name; return a }, file: "m-00002-of-00003.gguf", want: "split.no is 2"},
		"other type of no":    {edit: func(a []shard) []shard { a[1].kvs[0].Value = int32(1); return a }, file: "m-00002-of-00003.gguf", want: "(int32)"},
		"no number":           {edit: func(a []shard) []shard { a[1].kvs = nil; return a }, file: "m-00002-of-00003.gguf", want: "split.no is <nil>"},
		"number too large":    {edit: func(a []shard) []shard { a[0].kvs[0].Value = uint16(3); return a }, file: "m-00001-of-00003.gguf", want: "split.no is 3"},
		"other type of count": {edit: func(a []shard) []shard { a[0].kvs[1].Value = uint32(3); return a }, file: "m-00001-of-00003.gguf", want: "not a uint16"},
		"other count":         {edit: func(a []shard) []shard { a[2].kvs[1].Value = uint16(4); return a }, file: "m-00003-of-00003.gguf", want: "the first file says 3"},
		"duplicate tensor":    {edit: func(a []shard) []shard { a[2].tensors[0].Name = "t0"; return a }, file: "m-00003-of-00003.gguf", want: `tensor "t0" is in `},
		"tensor too few":      {edit: func(a []shard) []shard { a[1].tensors = nil; return a }, file: "m-00001-of-00003.gguf", want: "hold 2 tensors"},
		"no tensor count":     {edit: func(a []shard) []shard { a[0].kvs = a[0].kvs[:2]; return a }, file: "m-00001-of-00003.gguf", want: "<nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			all := shards()
			if tc.edit != nil {
				all = tc.edit(all)
			}
			dir := writeShards(t, all)
			if tc.open == "" {
				tc.open = "m-00001-of-00003.gguf"
			}
			_, err := gguf.ReadModel(filepath.Join(dir, tc.open))
			var e *gguf.Error
			if !errors.As(err, &e) || e.Hint == "" || e.Path != filepath.Join(dir, tc.file) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error of %s with a hint and %q", err, tc.file, tc.want)
			}
		})
	}
}

// A damaged later file is refused as a damaged first one is.
func TestReadModelDamaged(t *testing.T) {
	dir := writeShards(t, shards())
	if err := os.Truncate(filepath.Join(dir, "m-00002-of-00003.gguf"), 50); err != nil {
		t.Fatal(err)
	}
	_, err := gguf.ReadModel(filepath.Join(dir, "m-00001-of-00003.gguf"))
	var e *gguf.Error
	if !errors.As(err, &e) || filepath.Base(e.Path) != "m-00002-of-00003.gguf" {
		t.Errorf("got %v", err)
	}
}
