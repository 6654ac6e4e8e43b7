package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// Tensor is a named array to write; Shape is in ggml's order (first dimension contiguous).
type Tensor struct {
	Name  string
	Shape []uint64
	Type  TensorType // F32 or F16; what exceeds [MaxF16] becomes infinite there
	Data  []float32
}

// Write stores the metadata and tensors as GGUF version 3 at path, whole or not at
// all. Metadata keeps its order.
func Write(path string, kvs []KV, tensors []Tensor) error {
	for _, t := range tensors {
		n := uint64(1)
		for _, d := range t.Shape {
			n *= d
		}
		if n != uint64(len(t.Data)) || len(t.Shape) == 0 || len(t.Shape) > maxDims {
			return fmt.Errorf("gguf: tensor %q: shape %v does not hold %d values", t.Name, t.Shape, len(t.Data))
		}
		if t.Type != F32 && t.Type != F16 {
			return fmt.Errorf("gguf: tensor %q: %v cannot be written, only F32 and F16", t.Name, t.Type)
		}
	}
	return atomicfile.Write(path, func(out io.Writer) error {
		w := &writer{w: out}
		w.put([]byte(Magic))
		w.put(uint32(version))
		w.put(uint64(len(tensors)))
		w.put(uint64(len(kvs)))
		for _, kv := range kvs {
			w.str(kv.Key)
			w.value(kv.Key, kv.Value)
		}
		offset := int64(0)
		for _, t := range tensors {
			w.str(t.Name)
			w.put(uint32(len(t.Shape)))
			w.put(t.Shape)
			w.put(uint32(t.Type))
			w.put(uint64(offset))
			offset = align(offset+int64(blocks[t.Type].bytes)*int64(len(t.Data)), defaultAlignment)
		}
		for _, t := range tensors {
			w.pad()
			for some := range slices.Chunk(t.Data, 1<<14) { // no copy of the whole
				if t.Type == F16 {
					w.put(float32sto16(some))
				} else {
					w.put(some)
				}
			}
		}
		w.pad()
		return w.err
	})
}

// writer encodes little-endian values and remembers the first error.
type writer struct {
	w   io.Writer
	n   int64
	err error
}

func (w *writer) put(v any) {
	if w.err == nil {
		w.err = binary.Write(w.w, binary.LittleEndian, v)
		w.n += int64(binary.Size(v))
	}
}

func (w *writer) str(s string) {
	w.put(uint64(len(s)))
	w.put([]byte(s))
}

func (w *writer) pad() {
	w.put(make([]byte, align(w.n, defaultAlignment)-w.n))
}

func (w *writer) value(key string, v any) {
	t, array, n := typeOf(v)
	if n < 0 {
		w.err = fmt.Errorf("gguf: metadata %q: values of type %T cannot be stored", key, v)
		return
	}
	if array {
		w.put(uint32(Array))
	}
	w.put(uint32(t))
	if array {
		w.put(uint64(n))
	}
	switch v := v.(type) {
	case string:
		w.str(v)
	case []string:
		for _, s := range v {
			w.str(s)
		}
	default:
		w.put(v)
	}
}

// typeOf returns the type code of a value or of a slice's elements, whether it is a
// slice, and its length (-1 when GGUF has no such type).
func typeOf(v any) (t Type, array bool, n int) {
	switch v := v.(type) {
	case uint8:
		return Uint8, false, 1
	case int8:
		return Int8, false, 1
	case uint16:
		return Uint16, false, 1
	case int16:
		return Int16, false, 1
	case uint32:
		return Uint32, false, 1
	case int32:
		return Int32, false, 1
	case float32:
		return Float32, false, 1
	case bool:
		return Bool, false, 1
	case string:
		return String, false, 1
	case uint64:
		return Uint64, false, 1
	case int64:
		return Int64, false, 1
	case float64:
		return Float64, false, 1
	case []uint8:
		return Uint8, true, len(v)
	case []int8:
		return Int8, true, len(v)
	case []uint16:
		return Uint16, true, len(v)
	case []int16:
		return Int16, true, len(v)
	case []uint32:
		return Uint32, true, len(v)
	case []int32:
		return Int32, true, len(v)
	case []float32:
		return Float32, true, len(v)
	case []bool:
		return Bool, true, len(v)
	case []string:
		return String, true, len(v)
	case []uint64:
		return Uint64, true, len(v)
	case []int64:
		return Int64, true, len(v)
	case []float64:
		return Float64, true, len(v)
	}
	return 0, false, -1
}

// MaxF16 is the largest number that F16 holds.
const MaxF16 = 65504

func float32sto16(x []float32) []uint16 {
	out := make([]uint16, len(x))
	for i, v := range x {
		out[i] = float32to16(v)
	}
	return out
}

// float32to16 rounds to the nearest IEEE half-precision number, to the even one of two.
func float32to16(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b >> 16 & 0x8000)
	switch b &= 0x7fffffff; {
	case b > 0x7f800000:
		return sign | 0x7e00 // not a number
	case b >= 0x477ff000: // from halfway past the largest on
		return sign | 0x7c00
	case b < 0x38800000: // subnormal: multiples of 2^-24, which the sum's last bit is
		return sign | uint16(math.Float32bits(math.Float32frombits(b)+.5)-0x3f000000)
	}
	b += 0xfff + b>>13&1 // 13 bits of the mantissa are rounded away
	return sign | uint16((b-0x38000000)>>13)
}
