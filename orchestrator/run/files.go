package run

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
)

// Files of the run are JSON lines, the first of which is the stamp, or JSON objects that carry
// the stamp's fields beside their own. Names in .zst are compressed.

// zstMagic is what a compressed file begins with.
var zstMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// PutLines writes a file of lines, with a stamp of its key and of what it was made from. The
// files named with it must have been written.
func PutLines[T any](d *Dir, name, key string, from map[string]string, with []string, lines []T) error {
	files, err := d.with(with)
	if err != nil {
		return err
	}
	s := Stamp{Key: key, From: from, With: files}
	if err := d.Make(name); err != nil {
		return err
	}
	if err := writeLines(d.Path(name), s, lines); err != nil {
		return err
	}
	return d.add(name, s)
}

func writeLines[T any](path string, s Stamp, lines []T) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		closed := func() error { return nil }
		if strings.HasSuffix(path, ".zst") {
			z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
			if err != nil {
				return err
			}
			w, closed = z, z.Close
		}
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			return err
		}
		for _, l := range lines {
			if err := enc.Encode(l); err != nil {
				return err
			}
		}
		return closed()
	})
}

// Lines reads what PutLines wrote.
func Lines[T any](path string) (*Stamp, []T, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	in := bufio.NewReader(f)
	var src io.Reader = in
	if head, _ := in.Peek(len(zstMagic)); bytes.Equal(head, zstMagic) {
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, nil, err
		}
		defer z.Close()
		src = z
	}
	dec := json.NewDecoder(src)
	s := &Stamp{}
	if err := dec.Decode(s); err != nil || s.Key == "" {
		return nil, nil, damaged(path, orElse(err, "it does not say what it was made from"))
	}
	var lines []T
	for {
		var l T
		switch err := dec.Decode(&l); {
		case err == nil:
			lines = append(lines, l)
		case errors.Is(err, io.EOF):
			return s, lines, nil
		default:
			return nil, nil, damaged(path, err)
		}
	}
}

func orElse(err error, text string) error {
	if err == nil || errors.Is(err, io.EOF) {
		return errors.New(text)
	}
	return err
}

// Put writes one value as a JSON object, its stamp within.
func Put(d *Dir, name, key string, from map[string]string, with []string, v Stamped) error {
	files, err := d.with(with)
	if err != nil {
		return err
	}
	*v.stamp() = Stamp{Key: key, From: from, With: files}
	data, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := d.Make(name); err != nil {
		return err
	}
	if err := atomicfile.WriteBytes(d.Path(name), append(data, '\n')); err != nil {
		return err
	}
	return d.add(name, *v.stamp())
}

// Value reads what Put wrote.
func Value[T any](path string) (*T, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(data, v); err != nil {
		return nil, damaged(path, err)
	}
	return v, nil
}

// ReadStamp reads the stamp of a file, and the whole file, so that damage is found.
func ReadStamp(path string) (*Stamp, error) {
	if strings.HasSuffix(path, ".json") {
		s, err := Value[Stamp](path)
		if err == nil && s.Key == "" {
			return nil, damaged(path, errors.New("it does not say what it was made from"))
		}
		return s, err
	}
	s, _, err := Lines[json.RawMessage](path)
	return s, err
}

// is says whether a file has a key in its stamp, or as the hash of its content.
func is(path, key string) (bool, error) {
	s, err := ReadStamp(path)
	if Absent(err) {
		return false, nil
	}
	if err != nil || s.Key == key {
		return err == nil, err
	}
	content, err := Identify(path)
	return err == nil && content.XXHash == key, err
}

// Faults says, as errors, which files of the run in dir are damaged or stale.
func Faults(dir string) (faults []error) {
	filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			faults = append(faults, err)
			return nil
		}
		name, _ := filepath.Rel(dir, path)
		stamped := strings.HasSuffix(name, ".jsonl") || strings.HasSuffix(name, ".jsonl.zst") || strings.HasSuffix(name, ".json") && name != ledgerFile
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") || !stamped {
			return nil
		}
		s, err := ReadStamp(path)
		if err == nil {
			err = Stale(dir, filepath.ToSlash(name), s)
		}
		for with, want := range stampWith(s) {
			if got, e := Identify(filepath.Join(dir, filepath.FromSlash(with))); err == nil && (e != nil || got != want) {
				err = fmt.Errorf("%s is not the one that was made with %s (run its ivo iterate again, which makes both anew)", with, name)
			}
		}
		if err != nil {
			faults = append(faults, err)
		}
		return nil
	})
	return faults
}

func stampWith(s *Stamp) map[string]File {
	if s == nil {
		return nil
	}
	return s.With
}

// Stale says, as an error, what of that which a file of the run in dir was made from has changed
// since.
func Stale(dir, name string, s *Stamp) error {
	for _, from := range slices.Sorted(maps.Keys(s.From)) {
		switch same, err := is(filepath.Join(dir, filepath.FromSlash(from)), s.From[from]); {
		case err != nil:
			return err
		case !same:
			return &fault.Error{Op: "run", Err: fmt.Errorf("%s was made from another %s than there is now", name, from), Hint: "run its ivo iterate again, which makes it anew"}
		}
	}
	return nil
}
