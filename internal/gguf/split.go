package gguf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
)

// Metadata of a model that is split over several files. llama-gguf-split writes all
// other metadata to the first file only, and spreads the tensors in their order.
const (
	keySplitNo      = "split.no"            // uint16, from 0
	keySplitCount   = "split.count"         // uint16, files
	keySplitTensors = "split.tensors.count" // int32, of all files together
)

const hintSplit = "get all files of the model again, or split it again with llama-gguf-split"

// splitName is how llama.cpp names the files of a split model, counted from 1.
const splitName = "%s-%05d-of-%05d.gguf"

var splitSuffix = regexp.MustCompile(`^(.*)-\d{5,}-of-\d{5,}\.gguf$`)

// ReadModel is [Read] for a model that may be split over several files, which lie in
// one folder as NAME-00001-of-00003.gguf and so on; path is the first of them. The
// headers of all are read and held against each other, so that llama.cpp, which finds
// the other files by their names, meets nothing that it would abort on. Errors are
// *Error, or *os.PathError when the file at path cannot be opened.
func ReadModel(path string) (*File, error) {
	first, err := Read(path)
	if err != nil {
		return nil, err
	}
	v := first.Value(keySplitCount)
	if v == nil {
		return first, nil
	}
	n, ok := v.(uint16)
	switch no := first.Value(keySplitNo); {
	case !ok:
		return nil, splitError(path, hintSplit, "%s is %v (%T), not a uint16", keySplitCount, v, v)
	case n <= 1:
		return first, nil
	case no != uint16(0):
		return nil, notFirst(path, no, n)
	}
	m := splitSuffix.FindStringSubmatch(path)
	if m == nil || path != fmt.Sprintf(splitName, m[1], 1, n) {
		return nil, splitError(path, fmt.Sprintf("give it and the other files their names back, the first ending in "+splitName, "", 1, n),
			"the first of a model's %d files, but not named so", n)
	}
	first.parts = []*File{first}
	for i := 1; i < int(n); i++ {
		part, err := readPart(fmt.Sprintf(splitName, m[1], i+1, n), uint16(i), n)
		if err != nil {
			return nil, err
		}
		first.parts = append(first.parts, part)
	}
	return first, first.checkParts()
}

// notFirst says that path is not the first file of n.
func notFirst(path string, no any, n uint16) error {
	i, ok := no.(uint16)
	if !ok || i >= n {
		return splitError(path, hintSplit, "%s is %v (%T) in one of %d files", keySplitNo, no, no, n)
	}
	name := "the one whose name ends in " + fmt.Sprintf(splitName, "", 1, n)
	if m := splitSuffix.FindStringSubmatch(path); m != nil {
		name = fmt.Sprintf(splitName, m[1], 1, n)
	}
	return splitError(path, "give the first: "+name, "file %d of the %d of a split model", i+1, n)
}

// readPart reads file no, counted from 0, of n.
func readPart(path string, no, n uint16) (*File, error) {
	f, err := Read(path)
	var pe *os.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, splitError(path, "all files of the model belong in one folder: get this one too", "file %d of the model's %d is missing", no+1, n)
	case errors.As(err, &pe):
		return nil, splitError(path, "all files of the model must be readable", "file %d of the model's %d: %v", no+1, n, pe.Err)
	case err != nil:
		return nil, err
	}
	// llama.cpp aborts on a number of another type.
	if v := f.Value(keySplitNo); v != no {
		return nil, splitError(path, hintSplit, "%s is %v (%T), but the name says file %d of %d", keySplitNo, v, v, no+1, n)
	}
	if v := f.Value(keySplitCount); v != nil && v != n {
		return nil, splitError(path, hintSplit, "%s is %v, but the first file says %d", keySplitCount, v, n)
	}
	return f, nil
}

// checkParts holds the tensor directories against each other.
func (f *File) checkParts() error {
	at := make(map[string]string)
	for _, p := range f.parts {
		for _, t := range p.Tensors {
			if other, ok := at[t.Name]; ok {
				return splitError(p.Path, hintSplit, "tensor %q is in %s too", t.Name, other)
			}
			at[t.Name] = p.Path
		}
	}
	if v := f.Value(keySplitTensors); v != int32(len(at)) {
		return splitError(f.Path, hintSplit, "%s is %v (%T), but the %d files hold %d tensors", keySplitTensors, v, v, len(f.parts), len(at))
	}
	return nil
}

func splitError(path, hint, format string, args ...any) error {
	return &Error{Path: path, Msg: fmt.Sprintf(format, args...), Hint: hint}
}

// Parts are the headers of all files of a split model read with [ReadModel], f being
// the first; of any other file it is f alone.
func (f *File) Parts() []*File {
	if f.parts == nil {
		return []*File{f}
	}
	return f.parts
}
