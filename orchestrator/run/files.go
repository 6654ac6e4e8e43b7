package run

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/fault"
)

// Files of the run are JSON lines, the first of which is the stamp, or JSON objects that begin
// with the stamp's fields. Names in .zst are compressed.

// zstMagic is what a compressed file begins with.
var zstMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// PutLines writes a file of lines, with a stamp of its key and of what it was made from. The
// files named with it must have been written.
func PutLines[T any](d *Dir, name, key string, from map[string]string, with []string, lines []T) error {
	files, err := d.with(with)
	if err != nil {
		return err
	}
	s := Stamp{Key: key, Sum: unsealed, From: from, With: files}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	err = enc.Encode(s)
	for _, l := range lines {
		err = errors.Join(err, enc.Encode(l))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return d.put(name, s, text.Bytes())
}

// put seals and writes a file.
func (d *Dir) put(name string, s Stamp, text []byte) error {
	if err := d.Make(name); err != nil {
		return err
	}
	seal(text)
	err := atomicfile.Write(d.Path(name), func(w io.Writer) error {
		if !strings.HasSuffix(name, ".zst") {
			_, err := w.Write(text)
			return err
		}
		z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
		if err != nil {
			return err
		}
		_, err = z.Write(text)
		return errors.Join(err, z.Close())
	})
	if err != nil {
		return err
	}
	return d.add(name, s)
}

// unsealed is the sum of a text that has none yet.
const unsealed = "0000000000000000"

// sumOf finds the sum in the stamp at the beginning of a text.
var sumOf = regexp.MustCompile(`^\{\s*"key":\s*"[^"]+",\s*"sum":\s*"([0-9a-f]{16})"`)

// seal puts the sum of a text into it, and says whether it was there already. A text without a
// place for it is none that the run wrote.
func seal(text []byte) (was bool) {
	at := sumOf.FindSubmatchIndex(text)
	if at == nil {
		return false
	}
	sum := text[at[2]:at[3]]
	old := string(sum)
	copy(sum, unsealed)
	copy(sum, fmt.Sprintf("%016x", xxhash.Sum64(text)))
	return string(sum) == old
}

// read reads the text of a file, and finds out whether it is what was written.
func read(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(text, zstMagic) {
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		defer z.Close()
		if text, err = z.DecodeAll(text, nil); err != nil {
			return nil, damaged(path, err)
		}
	}
	if !seal(text) {
		return nil, damaged(path, errors.New("its content is not what was written"))
	}
	return text, nil
}

// Lines reads what PutLines wrote.
func Lines[T any](path string) (*Stamp, []T, error) {
	text, err := read(path)
	if err != nil {
		return nil, nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	s := &Stamp{}
	if err := dec.Decode(s); err != nil {
		return nil, nil, damaged(path, err)
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

// Put writes one value as a JSON object, its stamp within, at the beginning.
func Put(d *Dir, name, key string, from map[string]string, with []string, v Stamped) error {
	files, err := d.with(with)
	if err != nil {
		return err
	}
	*v.stamp() = Stamp{Key: key, Sum: unsealed, From: from, With: files}
	text, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return d.put(name, *v.stamp(), append(text, '\n'))
}

// Value reads what Put wrote.
func Value[T any](path string) (*T, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(text, v); err != nil {
		return nil, damaged(path, err)
	}
	return v, nil
}

// ReadStamp reads the stamp of a file, and the whole file, so that damage is found.
func ReadStamp(path string) (*Stamp, error) {
	if strings.HasSuffix(path, ".json") {
		return Value[Stamp](path)
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
			return &fault.Error{Op: "run", Err: fmt.Errorf("%s was made from another %s than there is now", name, from), Hint: "run its ivo iterate again, or ivo score, which make anew what they need"}
		}
	}
	return nil
}
