package safetensors

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
)

const (
	suffix      = ".safetensors"
	indexSuffix = ".safetensors.index.json"
	// maxIndex is the largest index that is read, in bytes.
	maxIndex = MaxHeader
)

// Checkpoint is the tensors of one file, or of several with an index. Files of an index are
// opened when one of their tensors is asked for: the others need not be there.
type Checkpoint struct {
	Path  string              // of the file or the index
	files map[string]string   // where each tensor lies
	read  map[string][]Tensor // of the files that were read so far
}

// Open reads the header of a file, an index (NAME.safetensors.index.json), or what of the two a
// folder has.
func Open(path string) (*Checkpoint, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &fault.Error{Op: op, Err: err, Hint: "name a folder, a .safetensors file or its index"}
	}
	if info.IsDir() {
		if path, err = within(path); err != nil {
			return nil, err
		}
	}
	c := &Checkpoint{Path: path, files: map[string]string{}, read: map[string][]Tensor{}}
	if strings.HasSuffix(path, indexSuffix) {
		return c, c.readIndex()
	}
	tensors, err := readHeader(path)
	if err != nil {
		return nil, err
	}
	c.read[path] = tensors
	for _, t := range tensors {
		c.files[t.Name] = path
	}
	return c, nil
}

// within finds the checkpoint in a folder.
func within(folder string) (string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "", &fault.Error{Op: op, Err: err, Hint: "see that the folder can be read"}
	}
	var files, indices, pickles []string
	for _, e := range entries {
		switch name := e.Name(); {
		case strings.HasSuffix(name, indexSuffix):
			indices = append(indices, name)
		case strings.HasSuffix(name, suffix):
			files = append(files, name)
		case slices.Contains([]string{".bin", ".pt", ".pth", ".ckpt"}, filepath.Ext(name)):
			pickles = append(pickles, name)
		}
	}
	switch {
	case len(indices) == 1:
		return filepath.Join(folder, indices[0]), nil
	case len(indices) == 0 && len(files) == 1:
		return filepath.Join(folder, files[0]), nil
	case len(indices)+len(files) > 0:
		return "", bad(folder, "name one of them, or their index", "it has %d safetensors files and %d indices", len(files), len(indices))
	case len(pickles) > 0:
		return "", bad(filepath.Join(folder, pickles[0]), hintPickle, "it is no safetensors file")
	}
	return "", bad(folder, "name the folder of a checkpoint", "no .safetensors file is in it")
}

// readIndex reads which file holds which tensor.
func (c *Checkpoint) readIndex() error {
	info, err := os.Stat(c.Path)
	if err == nil && info.Size() > maxIndex {
		return bad(c.Path, hintCopy, "the index has %d bytes, more than %d are not read", info.Size(), maxIndex)
	}
	text, err := os.ReadFile(c.Path)
	if err != nil {
		return &fault.Error{Op: op, Err: err, Hint: "see that the file can be read"}
	}
	var index struct {
		Files map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(text, &index); err != nil {
		return bad(c.Path, hintCopy, "the index is damaged: %w", err)
	}
	if len(index.Files) == 0 {
		return bad(c.Path, hintCopy, "the index has no \"weight_map\" that names tensors")
	}
	for name, file := range index.Files {
		if !filepath.IsLocal(file) || filepath.Base(file) != file {
			return bad(c.Path, "take an index whose files lie beside it", "tensor %q is said to lie in %q", name, file)
		}
		c.files[name] = filepath.Join(filepath.Dir(c.Path), file)
	}
	return nil
}

// Names are those of all tensors, sorted.
func (c *Checkpoint) Names() []string { return slices.Sorted(maps.Keys(c.files)) }

// Has says whether there is a tensor of a name.
func (c *Checkpoint) Has(name string) bool { return c.files[name] != "" }

// File is where a tensor lies; "" where there is none of the name.
func (c *Checkpoint) File(name string) string { return c.files[name] }

// Tensor finds a tensor.
func (c *Checkpoint) Tensor(name string) (Tensor, error) {
	path := c.files[name]
	if path == "" {
		return Tensor{}, bad(c.Path, "see whether the checkpoint is whole, and of the kind that you think", "it has no tensor %q", name)
	}
	tensors, ok := c.read[path]
	if !ok {
		var err error
		if tensors, err = readHeader(path); err != nil {
			if _, gone := os.Stat(path); errors.Is(gone, fs.ErrNotExist) {
				return Tensor{}, bad(path, "get this file too: others of the checkpoint are not needed", "it is missing, and tensor %q lies in it", name)
			}
			return Tensor{}, err
		}
		c.read[path] = tensors
	}
	for _, t := range tensors {
		if t.Name == name {
			return t, nil
		}
	}
	return Tensor{}, bad(path, "get the checkpoint's files and its index again", "it has no tensor %q, which %s says", name, c.Path)
}
