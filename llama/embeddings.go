package llama

/*
#include "shim.h"
*/
import "C"

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// embeddingTensor is what every architecture calls the matrix that turns tokens into the
// states below the first layer.
const embeddingTensor = "token_embd.weight"

// Embeddings reads the embeddings of a model's tokens from its file, a few rows at a time:
// the whole matrix of a large vocabulary is seldom wanted in memory. It is safe for
// concurrent use until Close.
type Embeddings struct {
	file       *os.File
	info       gguf.TensorInfo
	from       int64 // of the first row, in the file
	rows, cols int
	rowBytes   int
}

// Embeddings opens the matrix of the model's token embeddings. Rows are as stored, before any
// scale that an architecture multiplies them by; adapters do not change them.
func (m *Model) Embeddings() (*Embeddings, error) { return EmbeddingsOf(m.head) }

// EmbeddingsOf opens those of a model that is not loaded, by its file's head.
func EmbeddingsOf(head *gguf.File) (*Embeddings, error) {
	const op = "read embeddings"
	for _, part := range head.Parts() {
		t, ok := part.Tensor(embeddingTensor)
		if !ok {
			continue
		}
		if len(t.Shape) != 2 {
			return nil, &Error{Op: op, Path: part.Path, Err: fmt.Errorf("%s has %d dimensions", t.Name, len(t.Shape)), Hint: "it is not a language model's"}
		}
		file, err := os.Open(part.Path)
		if err != nil {
			return nil, &Error{Op: op, Path: part.Path, Err: err, Hint: "the model's file must stay where it was loaded from"}
		}
		return &Embeddings{
			file: file, info: t, from: part.DataOffset + int64(t.Offset),
			rows: int(t.Shape[1]), cols: int(t.Shape[0]), rowBytes: int(t.Size / t.Shape[1]),
		}, nil
	}
	return nil, &Error{Op: op, Path: head.Path, Err: fmt.Errorf("the tensor %s is missing", embeddingTensor), Hint: "give the file of a whole language model"}
}

// Len is the number of rows, those of the vocabulary; Width is the length of one.
func (e *Embeddings) Len() int   { return e.rows }
func (e *Embeddings) Width() int { return e.cols }

// Row writes the embedding of a token to dst, [Width].
func (e *Embeddings) Row(token int, dst []float32) error {
	if len(dst) < e.cols {
		return failf("read embeddings", "make room for a whole row", "room for %d of %d floats", len(dst), e.cols)
	}
	return e.Rows(token, dst[:e.cols])
}

// Rows writes the embeddings of the tokens from one on to dst, as many as it has room for,
// [n][Width], dequantized by ggml.
func (e *Embeddings) Rows(from int, dst []float32) error {
	const op = "read embeddings"
	n := len(dst) / e.cols
	if from < 0 || n > e.rows-from {
		return failf(op, "ask for tokens of the vocabulary", "rows %d to %d of %d", from, from+n, e.rows)
	}
	if n == 0 {
		return nil
	}
	raw := make([]byte, n*e.rowBytes)
	if _, err := e.file.ReadAt(raw, e.from+int64(from)*int64(e.rowBytes)); err != nil {
		return &Error{Op: op, Path: e.file.Name(), Err: err, Hint: "the model's file must not change while it is in use"}
	}
	if err := dequantize(e.info.Type, raw, dst[:n*e.cols]); err != nil {
		return &Error{Op: op, Path: e.file.Name(), Err: err, Hint: "take another quantization of the model"}
	}
	return nil
}

// dequantize turns what is stored of a tensor into numbers, by ggml (ggml_type_traits.to_float).
func dequantize(t gguf.TensorType, raw []byte, dst []float32) error {
	if t == gguf.F32 { // for which ggml has no function
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		return nil
	}
	start()
	if !C.ivo_dequantize(C.int32_t(t), unsafe.Pointer(&raw[0]), (*C.float)(unsafe.Pointer(&dst[0])), C.int64_t(len(dst))) {
		return fmt.Errorf("ggml does not turn %v into floats", t)
	}
	return nil
}

// Weights reads a tensor of a model that need not be loaded, by its file's head: as numbers,
// whatever type it is stored as, in the order in which they are stored.
func Weights(head *gguf.File, tensor string) ([]float32, error) {
	const op = "read weights"
	for _, part := range head.Parts() {
		t, ok := part.Tensor(tensor)
		if !ok {
			continue
		}
		fail := func(err error, hint string) error {
			return &Error{Op: op, Path: part.Path, Err: fmt.Errorf("%s: %w", tensor, err), Hint: hint}
		}
		file, err := os.Open(part.Path)
		if err != nil {
			return nil, fail(err, "the model's file must stay where it is")
		}
		defer file.Close()
		raw, out := make([]byte, t.Size), make([]float32, t.Elements())
		if _, err := file.ReadAt(raw, part.DataOffset+int64(t.Offset)); err != nil {
			return nil, fail(err, "the model's file must not change while it is in use")
		}
		if err := dequantize(t.Type, raw, out); err != nil {
			return nil, fail(err, "take another quantization of the model")
		}
		return out, nil
	}
	return nil, &Error{Op: op, Path: head.Path, Err: fmt.Errorf("the tensor %s is missing", tensor), Hint: "give the file of a whole language model"}
}

// Close closes the file. A second Close does nothing.
func (e *Embeddings) Close() error {
	if err := e.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}
