// Package safetensors reads checkpoints in the format of the files that Hugging Face's models
// come in: the length of a JSON header as a little-endian u64, the header, which gives each
// tensor's type, shape and place, then all data
// (https://github.com/huggingface/safetensors, "Format"). A checkpoint is one file, or several with
// an index. The package knows tensors by their names and nothing of models.
package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
)

const (
	// MaxHeader is the largest header that is read, in bytes: as the format's own library has it.
	MaxHeader = 100_000_000
	maxDims   = 8
)

// sizes of the types' elements, in bytes. Those of less than a byte are not known here: their
// tensors may lie beside those that are read, see place.bytes.
var sizes = map[string]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
	"U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8, "C64": 8,
}

// Tensor is where a tensor lies.
type Tensor struct {
	Name  string
	Type  string // as the format spells it: F32, BF16
	Shape []int  // rows first, as PyTorch has it; empty of a number
	path  string
	at    int64 // of its first byte, in the file
	size  int64 // in bytes
}

const (
	op       = "read safetensors"
	hintCopy = "copy or download the file anew"
	// Loading a pickle can run programs.
	hintPickle = "it is a pickle of PyTorch, and those are never opened: take the checkpoint's safetensors, or write them with transformers' save_pretrained"
)

// bad says what is wrong with a file.
func bad(path, hint, format string, args ...any) error {
	return &fault.Error{Op: op, Err: fmt.Errorf("%s: "+format, append([]any{path}, args...)...), Hint: hint}
}

// readHeader reads the tensors of one file, by the order of their data. It checks all that the
// header says: after that, every tensor lies whole within the file and none on another.
func readHeader(path string) ([]Tensor, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, bad(path, "get the file, or check the path", "there is no such file")
		}
		return nil, &fault.Error{Op: op, Err: err, Hint: "see that the file can be read"}
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, &fault.Error{Op: op, Err: err, Hint: "see that the file can be read"}
	}
	if info.IsDir() {
		return nil, bad(path, "name a file", "it is a folder")
	}
	head := make([]byte, min(info.Size(), 16))
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, bad(path, hintCopy, "%w", err)
	}
	n := uint64(0)
	if len(head) > 8 {
		n = binary.LittleEndian.Uint64(head)
	}
	begins, fits := len(head) > 8 && head[8] == '{', n <= MaxHeader && int64(n) <= info.Size()-8
	if hint := foreign(head); hint != "" && !(begins && fits) { // lengths may look like anything
		return nil, bad(path, hint, "it is no safetensors file")
	}
	switch {
	case len(head) < 9:
		return nil, bad(path, hintCopy, "%d bytes are no safetensors file", info.Size())
	case !begins:
		return nil, bad(path, "take a file whose name ends in .safetensors", "it is no safetensors file: no header begins at byte 8")
	case n > MaxHeader:
		return nil, bad(path, hintCopy, "its header is said to have %d bytes, more than %d are not read", n, MaxHeader)
	case !fits:
		return nil, bad(path, hintCopy, "it is cut: its header is said to have %d bytes, and %d follow", n, info.Size()-8)
	}
	text := make([]byte, n)
	if _, err := f.ReadAt(text, 8); err != nil {
		return nil, bad(path, hintCopy, "%w", err)
	}
	places, err := parse(text)
	if err != nil {
		return nil, bad(path, hintCopy, "its header is damaged: %w", err)
	}
	return check(path, places, 8+int64(n), info.Size())
}

// foreign recognises what people take for safetensors, and says what to do instead.
func foreign(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), len(head) > 1 && head[0] == 0x80 && head[1] <= 5:
		return hintPickle
	case bytes.HasPrefix(head, []byte("GGUF")):
		return "it is a GGUF file: take the checkpoint that it was converted from"
	case bytes.HasPrefix(head, []byte("version https")):
		return "it is a pointer of git-lfs: fetch the file itself with git lfs pull"
	case bytes.HasPrefix(bytes.TrimLeft(head, " \r\n\t"), []byte("{")):
		return "it is JSON: of several files, name the index, which ends in .index.json"
	}
	return ""
}

// place is an entry of the header.
type place struct {
	name    string
	Type    *string  `json:"dtype"`
	Shape   *[]int64 `json:"shape"`
	Offsets []int64  `json:"data_offsets"` // of its first byte and the one after its last, in the data
}

// parse reads a header. A name that comes twice is an error, which encoding/json would not say.
func parse(text []byte) (places []place, err error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("it is no JSON object")
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, ok := key.(string)
		if !ok || seen[name] {
			return nil, fmt.Errorf("tensor %q comes twice", name)
		}
		seen[name] = true
		if name == "__metadata__" {
			if err := dec.Decode(&map[string]string{}); err != nil {
				return nil, fmt.Errorf("its metadata: %w", err)
			}
			continue
		}
		p := place{name: name}
		if err := dec.Decode(&p); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		if p.Type == nil || p.Shape == nil || len(p.Offsets) != 2 {
			return nil, fmt.Errorf("tensor %q lacks its dtype, its shape or its two data_offsets", name)
		}
		places = append(places, p)
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if rest := bytes.TrimRight(text[dec.InputOffset():], " \r\n\t\x00"); len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow its end", len(rest))
	}
	return places, nil
}

// check holds the places against each other and against the data, which begin at byte from of
// a file of so many bytes: they are to cover them without holes, as the format has it.
func check(path string, places []place, from, size int64) ([]Tensor, error) {
	data := size - from
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.Offsets[0], b.Offsets[0]), cmp.Compare(a.Offsets[1], b.Offsets[1]), cmp.Compare(a.name, b.name))
	})
	var tensors []Tensor
	end := int64(0)
	for _, p := range places {
		begin, stop := p.Offsets[0], p.Offsets[1]
		t := Tensor{Name: p.name, Type: *p.Type, Shape: []int{}, path: path, at: from + begin, size: stop - begin}
		switch {
		case begin < 0 || stop < begin:
			return nil, bad(path, hintCopy, "tensor %q is said to lie from %d to %d of its data", p.name, begin, stop)
		case stop > data:
			return nil, bad(path, hintCopy, "it is cut: tensor %q ends at byte %d of its data, and there are %d", p.name, stop, data)
		case begin < end:
			return nil, bad(path, hintCopy, "tensor %q lies upon the one before it: it begins at byte %d, that one ends at %d", p.name, begin, end)
		case begin > end:
			return nil, bad(path, hintCopy, "nothing is said of its data from byte %d to %d, before tensor %q", end, begin, p.name)
		case len(*p.Shape) > maxDims:
			return nil, bad(path, hintCopy, "tensor %q has %d dimensions, more than %d are not read", p.name, len(*p.Shape), maxDims)
		}
		n := int64(1)
		for _, d := range *p.Shape {
			if d < 0 || d > 0 && n > math.MaxInt64/8/d {
				return nil, bad(path, hintCopy, "tensor %q has the shape %v", p.name, *p.Shape)
			}
			n *= d
			t.Shape = append(t.Shape, int(d))
		}
		if bytes, known := sizes[t.Type]; known && n*bytes != t.size {
			return nil, bad(path, hintCopy, "tensor %q of shape %v and type %s takes %d bytes, and its place has %d", p.name, *p.Shape, t.Type, n*bytes, t.size)
		}
		tensors = append(tensors, t)
		end = stop
	}
	if end != data {
		return nil, bad(path, hintCopy, "%d bytes follow its last tensor", data-end)
	}
	return tensors, nil
}

// Floats reads a tensor of the type F32, F16 or BF16, [Shape]. One that has a value that is not finite
// is an error.
func (t Tensor) Floats() ([]float32, error) {
	widen, ok := map[string]func([]byte) float32{"F32": f32, "F16": f16, "BF16": bf16}[t.Type]
	if !ok {
		return nil, bad(t.path, "take a checkpoint in F32, F16 or BF16", "tensor %q is of type %s", t.Name, t.Type)
	}
	f, err := os.Open(t.path)
	if err != nil {
		return nil, &fault.Error{Op: op, Err: err, Hint: "the file must stay as it is while it is read"}
	}
	defer f.Close()
	raw := make([]byte, t.size)
	if _, err := f.ReadAt(raw, t.at); err != nil {
		return nil, bad(t.path, "the file must stay as it is while it is read", "tensor %q: %w", t.Name, err)
	}
	width := int(sizes[t.Type])
	x := make([]float32, len(raw)/width)
	for i := range x {
		if x[i] = widen(raw[i*width:]); x[i]-x[i] != 0 {
			return nil, bad(t.path, "take another checkpoint", "value %d of tensor %q is %v", i, t.Name, x[i])
		}
	}
	return x, nil
}

func f32(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }

// bf16 is the upper half of a float32.
func bf16(b []byte) float32 {
	return math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
}

// f16 is IEEE 754's binary16: a sign, 5 bits of exponent, 10 of fraction.
func f16(b []byte) float32 {
	h := binary.LittleEndian.Uint16(b)
	exponent, fraction := int(h>>10&31), float64(h&1023)
	var x float64
	switch exponent {
	case 0: // subnormal
		x = math.Ldexp(fraction, -24)
	case 31:
		if x = math.Inf(1); fraction != 0 {
			x = math.NaN()
		}
	default:
		x = math.Ldexp(1024+fraction, exponent-25)
	}
	if h>>15 == 1 {
		x = -x
	}
	return float32(x)
}
