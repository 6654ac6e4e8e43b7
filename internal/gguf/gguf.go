// Package gguf reads and writes the GGUF container in plain Go: the header, its
// typed metadata and the tensor directory, with every count, length and offset
// checked against the file's size. It knows nothing of models: llama pre-reads a
// file with it before llama.cpp (which may abort on a corrupt count) sees it, and
// value heads are stored with it.
//
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3,
// little endian).
package gguf

import (
	"fmt"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Magic is how a GGUF file begins.
const Magic = "GGUF"

const (
	version          = 3
	defaultAlignment = 32
	maxDims          = 4
)

// Type is the type code of a metadata value.
type Type uint32

const (
	Uint8 Type = iota
	Int8
	Uint16
	Int16
	Uint32
	Int32
	Float32
	Bool
	String
	Array
	Uint64
	Int64
	Float64
)

// TensorType is ggml's type code of a tensor.
type TensorType uint32

// F32 and F16 are the tensor types that ReadF32 decodes and Write can produce.
const (
	F32 TensorType = 0
	F16 TensorType = 1
)

// block describes ggml's storage of one tensor type: size elements take bytes bytes.
type block struct {
	name        string
	size, bytes uint64
}

// blocks lists every tensor type that llama.cpp accepts (ggml.h, enum ggml_type).
var blocks = map[TensorType]block{
	0: {"F32", 1, 4}, 1: {"F16", 1, 2}, 2: {"Q4_0", 32, 18}, 3: {"Q4_1", 32, 20},
	6: {"Q5_0", 32, 22}, 7: {"Q5_1", 32, 24}, 8: {"Q8_0", 32, 34}, 9: {"Q8_1", 32, 36},
	10: {"Q2_K", 256, 84}, 11: {"Q3_K", 256, 110}, 12: {"Q4_K", 256, 144}, 13: {"Q5_K", 256, 176},
	14: {"Q6_K", 256, 210}, 15: {"Q8_K", 256, 292}, 16: {"IQ2_XXS", 256, 66}, 17: {"IQ2_XS", 256, 74},
	18: {"IQ3_XXS", 256, 98}, 19: {"IQ1_S", 256, 50}, 20: {"IQ4_NL", 32, 18}, 21: {"IQ3_S", 256, 110},
	22: {"IQ2_S", 256, 82}, 23: {"IQ4_XS", 256, 136}, 24: {"I8", 1, 1}, 25: {"I16", 1, 2},
	26: {"I32", 1, 4}, 27: {"I64", 1, 8}, 28: {"F64", 1, 8}, 29: {"IQ1_M", 256, 56}, 30: {"BF16", 1, 2},
	34: {"TQ1_0", 256, 54}, 35: {"TQ2_0", 256, 66}, 39: {"MXFP4", 32, 17},
}

// String is ggml's name of the type, such as Q4_K.
func (t TensorType) String() string {
	if b, ok := blocks[t]; ok {
		return b.name
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// KV is one metadata entry. Value is a bool, string, (u)int8..64, float32,
// float64, or a slice of one of them.
type KV struct {
	Key   string
	Value any
}

// TensorInfo is one entry of the tensor directory. Shape is in ggml's order: the
// first dimension is the one that is contiguous in memory. Offset counts from the
// start of the data section.
type TensorInfo struct {
	Name   string
	Shape  []uint64
	Type   TensorType
	Offset uint64
	Size   uint64 // in bytes
}

// Elements is the product of the dimensions.
func (t TensorInfo) Elements() uint64 {
	n := uint64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// File is a parsed header.
type File struct {
	Path       string
	Version    uint32
	KVs        []KV
	Tensors    []TensorInfo // of this file; see [File.Parts]
	Alignment  uint64
	DataOffset int64 // of the data section, from the start of the file
	FileSize   int64

	parts []*File // of a split model, this one first
}

// Value returns the metadata value stored under key, or nil.
func (f *File) Value(key string) any {
	if i := slices.IndexFunc(f.KVs, func(kv KV) bool { return kv.Key == key }); i >= 0 {
		return f.KVs[i].Value
	}
	return nil
}

// Str returns a string value, or "" when key is missing or of another type.
func (f *File) Str(key string) string {
	s, _ := f.Value(key).(string)
	return s
}

// Int returns an integer value of any width and whether key holds one.
func (f *File) Int(key string) (int64, bool) {
	switch v := f.Value(key).(type) {
	case uint8:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int32:
		return int64(v), true
	case uint64:
		return int64(v), true
	case int64:
		return v, true
	}
	return 0, false
}

// Float returns a floating-point value and whether key holds one.
func (f *File) Float(key string) (float64, bool) {
	switch v := f.Value(key).(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// Tensor returns the directory entry called name.
func (f *File) Tensor(name string) (TensorInfo, bool) {
	if i := slices.IndexFunc(f.Tensors, func(t TensorInfo) bool { return t.Name == name }); i >= 0 {
		return f.Tensors[i], true
	}
	return TensorInfo{}, false
}

// Error says what is wrong with a file and, in Hint, what to do about it.
type Error struct {
	Path string
	Msg  string
	Hint string // with settings in braces (see package fault)
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %s", e.Path, e.Msg)
	if e.Hint != "" {
		s += " (" + fault.Spell(e.Hint) + ")"
	}
	return s
}
