package gguf

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"os"
	"strings"
)

// Hints of the commonest faults.
const (
	hintNotGGUF   = "ivo reads GGUF models: convert the model with llama.cpp's convert_hf_to_gguf.py, or check the path"
	hintTruncated = "the file is incomplete or damaged: download or write it again"
)

// limits on what a header may ask for, far above any real model's
const (
	maxKVs     = 1 << 16
	maxTensors = 1 << 20
	maxKey     = 1 << 16
	maxHeader  = 1 << 30 // bytes of metadata and directory together
)

// Read parses the header of the GGUF file at path and checks that the tensors lie
// inside the file. Errors are *Error, or *os.PathError when the file cannot be opened.
func Read(path string) (*File, error) {
	fd, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer fd.Close()
	st, err := fd.Stat()
	if err != nil {
		return nil, err
	}
	fail := func(hint, format string, args ...any) error {
		return &Error{Path: path, Msg: fmt.Sprintf(format, args...), Hint: hint}
	}
	switch {
	case st.IsDir():
		return nil, fail(hintNotGGUF, "is a folder, not a GGUF file")
	case st.Size() == 0:
		return nil, fail(hintTruncated, "the file is empty")
	}

	buffered := bufio.NewReaderSize(fd, 1<<16)
	if begin, _ := buffered.Peek(sniffed); !bytes.HasPrefix(begin, []byte(Magic)) {
		if what, hint := Foreign(begin); what != "" {
			return nil, fail(hint, "not a GGUF file but %s", what)
		}
		return nil, fail(hintNotGGUF, "not a GGUF file")
	}
	r := &reader{r: buffered, left: min(st.Size(), maxHeader)}
	f := &File{Path: path, FileSize: st.Size(), Alignment: defaultAlignment}
	r.bytes(uint64(len(Magic)))
	f.Version = r.u32()
	switch swapped := bits.ReverseBytes32(f.Version); {
	case r.err != nil || 2 <= f.Version && f.Version <= version:
	case 2 <= swapped && swapped <= version:
		return nil, fail("get a little-endian file of the model, or convert it with gguf-py's gguf_convert_endian.py", "a big-endian GGUF file")
	default:
		return nil, fail("ivo reads versions 2 and 3", "GGUF version %d", f.Version)
	}
	nTensors, nKV := r.u64(), r.u64()
	if r.err == nil && (nTensors > maxTensors || nKV > maxKVs) {
		return nil, fail(hintTruncated, "corrupt header: %d tensors, %d metadata entries", nTensors, nKV)
	}

	seen := make(map[string]bool)
	for range nKV {
		key := r.str(maxKey)
		value := r.value(Type(r.u32()))
		if r.err != nil {
			return nil, fail(hintTruncated, "corrupt metadata near %q: %v", key, r.err)
		}
		if key == "" || strings.ContainsRune(key, 0) {
			// llama.cpp reads a key up to its first zero byte, and aborts on an empty one.
			return nil, fail(hintTruncated, "corrupt metadata: %q is no key", key)
		}
		if seen[key] {
			return nil, fail(hintTruncated, "corrupt metadata: %q stands twice", key)
		}
		seen[key] = true
		f.KVs = append(f.KVs, KV{key, value})
	}
	if r.err != nil {
		return nil, fail(hintTruncated, "corrupt header: %v", r.err)
	}
	if a := f.Value("general.alignment"); a != nil {
		v, ok := a.(uint32)
		if !ok || v == 0 || v&(v-1) != 0 {
			return nil, fail(hintTruncated, "corrupt header: alignment %v is not a power of two", a)
		}
		f.Alignment = uint64(v)
	}

	clear(seen)
	for range nTensors {
		t := r.tensor()
		if r.err != nil {
			return nil, fail(hintTruncated, "corrupt tensor directory near %q: %v", t.Name, r.err)
		}
		if seen[t.Name] {
			return nil, fail(hintTruncated, "corrupt tensor directory: %q stands twice", t.Name)
		}
		seen[t.Name] = true
		f.Tensors = append(f.Tensors, t)
	}

	f.DataOffset = align(r.read, int64(f.Alignment))
	next := uint64(0)
	for _, t := range f.Tensors {
		// llama.cpp insists on tensors that follow each other without gaps.
		if t.Offset != next {
			return nil, fail(hintTruncated, "corrupt tensor directory: %q starts at %d, not %d", t.Name, t.Offset, next)
		}
		next = uint64(align(int64(t.Offset+t.Size), int64(f.Alignment)))
		if end := f.DataOffset + int64(t.Offset+t.Size); end > f.FileSize {
			return nil, fail(hintTruncated, "truncated: tensor %q ends at byte %d, the file at %d", t.Name, end, f.FileSize)
		}
	}
	return f, nil
}

// ReadF32 decodes the F32 or F16 tensor called name.
func (f *File) ReadF32(name string) ([]float32, error) {
	t, ok := f.Tensor(name)
	if !ok {
		return nil, &Error{Path: f.Path, Msg: fmt.Sprintf("tensor %q is missing", name), Hint: hintTruncated}
	}
	fd, err := os.Open(f.Path)
	if err != nil {
		return nil, err
	}
	defer fd.Close()
	raw := make([]byte, t.Size)
	if _, err := fd.ReadAt(raw, f.DataOffset+int64(t.Offset)); err != nil {
		return nil, &Error{Path: f.Path, Msg: fmt.Sprintf("tensor %q: %v", name, err), Hint: hintTruncated}
	}
	out := make([]float32, t.Elements())
	switch t.Type {
	case F32:
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case F16:
		for i := range out {
			out[i] = float16to32(binary.LittleEndian.Uint16(raw[2*i:]))
		}
	default:
		return nil, &Error{Path: f.Path, Msg: fmt.Sprintf("tensor %q is %v; only F32 and F16 can be read", name, t.Type)}
	}
	return out, nil
}

func align(n, a int64) int64 { return (n + a - 1) / a * a }

// reader decodes little-endian values and remembers the first error. left bounds
// what may still be read, so a corrupt length fails before it allocates.
type reader struct {
	r    io.Reader
	left int64
	read int64
	err  error
	buf  [8]byte
}

func (r *reader) bytes(n uint64) []byte {
	if r.err != nil {
		return nil
	}
	if n > uint64(r.left) {
		r.err = fmt.Errorf("%d bytes wanted, %d left", n, r.left)
		return nil
	}
	b := r.buf[:]
	if n > 8 {
		b = make([]byte, n)
	}
	b = b[:n]
	if _, err := io.ReadFull(r.r, b); err != nil {
		r.err = err
		return nil
	}
	r.left -= int64(n)
	r.read += int64(n)
	return b
}

func (r *reader) u32() uint32 {
	if b := r.bytes(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if b := r.bytes(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) str(limit uint64) string {
	n := r.u64()
	if r.err == nil && n > limit {
		r.err = fmt.Errorf("a string of %d bytes", n)
	}
	return string(r.bytes(n))
}

func (r *reader) value(t Type) any {
	switch t {
	case Uint8:
		return scalar(r, 1, func(b []byte) uint8 { return b[0] })
	case Int8:
		return scalar(r, 1, func(b []byte) int8 { return int8(b[0]) })
	case Uint16:
		return scalar(r, 2, binary.LittleEndian.Uint16)
	case Int16:
		return scalar(r, 2, func(b []byte) int16 { return int16(binary.LittleEndian.Uint16(b)) })
	case Uint32:
		return r.u32()
	case Int32:
		return int32(r.u32())
	case Float32:
		return math.Float32frombits(r.u32())
	case Bool:
		return scalar(r, 1, func(b []byte) bool { return b[0] != 0 })
	case String:
		return r.str(uint64(max(r.left, 0)))
	case Uint64:
		return r.u64()
	case Int64:
		return int64(r.u64())
	case Float64:
		return math.Float64frombits(r.u64())
	case Array:
		return r.array()
	}
	if r.err == nil {
		r.err = fmt.Errorf("unknown value type %d", t)
	}
	return nil
}

func scalar[T any](r *reader, n uint64, decode func([]byte) T) (v T) {
	if b := r.bytes(n); b != nil {
		v = decode(b)
	}
	return v
}

func (r *reader) array() any {
	t, n := Type(r.u32()), r.u64()
	// Every element takes at least one byte, a string at least eight.
	if r.err == nil && n > uint64(r.left) {
		r.err = fmt.Errorf("an array of %d elements in %d bytes", n, r.left)
	}
	if r.err != nil {
		return nil
	}
	switch t {
	case Uint8:
		return elements[uint8](r, t, n)
	case Int8:
		return elements[int8](r, t, n)
	case Uint16:
		return elements[uint16](r, t, n)
	case Int16:
		return elements[int16](r, t, n)
	case Uint32:
		return elements[uint32](r, t, n)
	case Int32:
		return elements[int32](r, t, n)
	case Float32:
		return elements[float32](r, t, n)
	case Bool:
		return elements[bool](r, t, n)
	case String:
		return elements[string](r, t, n)
	case Uint64:
		return elements[uint64](r, t, n)
	case Int64:
		return elements[int64](r, t, n)
	case Float64:
		return elements[float64](r, t, n)
	}
	r.err = fmt.Errorf("an array of value type %d", t) // nested arrays: llama.cpp rejects them too
	return nil
}

func elements[T any](r *reader, t Type, n uint64) []T {
	var out []T
	for range n {
		v := r.value(t)
		if r.err != nil {
			return nil
		}
		out = append(out, v.(T))
	}
	return out
}

func (r *reader) tensor() (t TensorInfo) {
	t.Name = r.str(maxKey)
	if r.err == nil && (len(t.Name) > 63 || strings.ContainsRune(t.Name, 0)) {
		r.err = fmt.Errorf("a tensor name of %d bytes", len(t.Name)) // GGML_MAX_NAME; C reads up to a zero byte
	}
	dims := r.u32()
	if r.err == nil && (dims == 0 || dims > maxDims) {
		r.err = fmt.Errorf("%d dimensions", dims)
	}
	if r.err != nil {
		return t
	}
	n := uint64(1)
	for range dims {
		d := r.u64()
		if r.err == nil && (d == 0 || d > 1<<40 || n > (1<<46)/d) {
			r.err = fmt.Errorf("dimension %d", d)
		}
		if r.err != nil {
			return t
		}
		n *= d
		t.Shape = append(t.Shape, d)
	}
	t.Type = TensorType(r.u32())
	t.Offset = r.u64()
	b, ok := blocks[t.Type]
	switch {
	case r.err != nil:
	case !ok:
		r.err = fmt.Errorf("unknown tensor type %d", t.Type)
	case t.Shape[0]%b.size != 0:
		r.err = fmt.Errorf("rows of %d elements do not fill %v blocks", t.Shape[0], t.Type)
	case t.Offset > 1<<46:
		r.err = fmt.Errorf("offset %d", t.Offset)
	default:
		t.Size = n / b.size * b.bytes
	}
	return t
}

// float16to32 widens an IEEE half-precision number.
func float16to32(h uint16) float32 {
	sign := uint32(h>>15) << 31
	exp, frac := uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch exp {
	case 0: // zero and subnormals: frac * 2^-24
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f:
		return math.Float32frombits(sign | 0xff<<23 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}
