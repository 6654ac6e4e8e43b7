package llama

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime/cgo"
	"slices"
	"sync/atomic"
	"unsafe"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/gguf"
)

// ModelParams are the options of [Load]. The zero value loads the whole model by mmap.
type ModelParams struct {
	GPULayers    int  // layers to offload, -1 for all
	VocabOnly    bool // tokenizer only, no weights
	NoMmap       bool
	Mlock        bool
	CheckTensors bool // refuse NaN and infinite weights; reads the whole file
	// Progress, if set, is called with values from 0 to 1 and cancels by returning false.
	Progress func(float32) bool
}

// Model is a loaded GGUF model (llama_model). It is safe for concurrent use until Close.
type Model struct {
	c    *C.ivo_model
	path string
	head *gguf.File
	info ModelInfo
	refs atomic.Int64 // open contexts
	tok  vocabulary
}

// ModelInfo describes a model.
type ModelInfo struct {
	Desc         string // llama.cpp's description, such as "llama 1B Q8_0"
	Architecture string
	Name         string
	Vocab        int // tokens
	Width        int // n_embd, the length of a hidden state
	Layers       int
	Heads        int
	KVHeads      int
	ContextTrain int // tokens of context the model was trained with
	Params       uint64
	Size         uint64 // bytes of weights
	Recurrent    bool   // its memory cannot be trimmed or partly copied
	HasDecoder   bool
	Encoder      bool // it reads its prompt with an encoder
}

// Load reads the GGUF model at path (llama_model_load_from_file); of a split model,
// path is the first file, and the others lie beside it. The headers are checked in Go
// before llama.cpp sees them. Errors are [*Error] or [*gguf.Error].
func Load(path string, p ModelParams) (*Model, error) {
	head, err := gguf.ReadModel(path)
	if err != nil {
		hint := "check the path given with -m"
		var bad *gguf.Error
		if errors.As(err, &bad) {
			return nil, fmt.Errorf("load: %w", err)
		}
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return nil, &Error{Op: "load", Path: path, Err: err, Hint: hint}
	}
	if t := head.Str("general.type"); t != "" && t != "model" {
		return nil, &Error{Op: "load", Path: path, Err: fmt.Errorf("a GGUF file of type %q, not a model", t),
			Hint: "give the model with -m and a head with --value-head"}
	}
	if head.Str("general.architecture") == "" {
		return nil, &Error{Op: "load", Path: path, Err: errors.New("the GGUF file names no architecture"), Hint: "it is not a language model"}
	}

	start()
	takeErrors()
	cp := C.ivo_model_params{
		n_gpu_layers: C.int32_t(p.GPULayers), vocab_only: C.bool(p.VocabOnly), use_mmap: C.bool(!p.NoMmap),
		use_mlock: C.bool(p.Mlock), check_tensors: C.bool(p.CheckTensors),
	}
	if p.GPULayers < 0 {
		cp.n_gpu_layers = 1 << 20
	}
	cancelled := false
	if p.Progress != nil {
		h := cgo.NewHandle(func(x float32) bool {
			cancelled = !p.Progress(x)
			return !cancelled
		})
		defer h.Delete()
		cp.progress = C.uintptr_t(h)
	}
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	c := C.ivo_model_load(cpath, &cp)
	if c == nil {
		why := errors.New("llama.cpp could not load it")
		switch msg := takeErrors(); {
		case cancelled:
			why = errors.New("loading was cancelled")
		case msg != "":
			why = errors.New(msg)
		}
		return nil, &Error{Op: "load", Path: path, Err: why, Hint: "run ivo inspect on the file; it may be damaged or of an architecture this llama.cpp does not know"}
	}
	m := &Model{c: c, path: path, head: head}
	m.describe(!p.VocabOnly)
	if err := m.readPieces(); err != nil {
		m.Close()
		return nil, &Error{Op: "load", Path: path, Err: err, Hint: "the vocabulary may be damaged"}
	}
	return m, nil
}

func (m *Model) describe(weights bool) {
	var ci C.ivo_model_info
	desc := make([]byte, 256)
	C.ivo_model_describe(m.c, C.bool(weights), &ci, (*C.char)(unsafe.Pointer(&desc[0])), C.size_t(len(desc)))
	m.info = ModelInfo{
		Desc:         C.GoString((*C.char)(unsafe.Pointer(&desc[0]))),
		Architecture: m.head.Str("general.architecture"),
		Name:         m.head.Str("general.name"),
		Vocab:        int(ci.n_vocab), Width: int(ci.n_embd), Layers: int(ci.n_layer), Heads: int(ci.n_head), KVHeads: int(ci.n_head_kv),
		ContextTrain: int(ci.n_ctx_train), Params: uint64(ci.n_params), Size: uint64(ci.size),
		Recurrent: bool(ci.recurrent), HasDecoder: bool(ci.has_decoder), Encoder: bool(ci.has_encoder),
	}
	kind := m.head.Str("tokenizer.ggml.model")
	m.tok = vocabulary{
		none: kind == "" || kind == "none" || kind == "no_vocab",
		bos:  int32(ci.bos), eos: int32(ci.eos), eot: int32(ci.eot), addBOS: bool(ci.add_bos),
		eog: make([]bool, ci.n_vocab), chatTemplate: C.GoString(ci.chat_template),
	}
	for i := range m.tok.eog {
		m.tok.eog[i] = bool(C.ivo_is_eog(m.c, C.int32_t(i)))
	}
}

// readPieces keeps the texts of all tokens.
func (m *Model) readPieces() (err error) {
	if m.tok.none {
		return nil
	}
	m.tok.pieces = make([][]byte, m.info.Vocab)
	for i := range m.tok.pieces {
		if m.tok.pieces[i], err = m.readPiece(int32(i), false); err != nil {
			return err
		}
		m.tok.pieces[i] = slices.Clip(slices.Clone(m.tok.pieces[i]))
	}
	return nil
}

// Close frees the model (llama_model_free). Its contexts must be closed first. A
// second Close does nothing.
func (m *Model) Close() error {
	if m.c == nil {
		return nil
	}
	if n := m.refs.Load(); n > 0 {
		return failf("close model", "close the contexts first", "%d contexts are open", n)
	}
	C.ivo_model_free(m.c)
	m.c = nil
	return nil
}

// Info describes the model.
func (m *Model) Info() ModelInfo { return m.info }

// Path is the file the model was loaded from.
func (m *Model) Path() string { return m.path }

// Metadata is the GGUF header of the file, or of the first file of a split model.
func (m *Model) Metadata() *gguf.File { return m.head }

// Fingerprint identifies the weights; see [Fingerprint].
func (m *Model) Fingerprint() (string, error) { return Fingerprint(m.head) }

// FileType is llama.cpp's number of a quantization mix (enum llama_ftype).
type FileType int32

// The quantization mixes that llama.cpp's llama-quantize knows best.
var FileTypes = map[string]FileType{
	"F32": 0, "F16": 1, "BF16": 32, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q8_0": 7,
	"Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
}

// Quantize writes the model at in to out in another storage format
// (llama_model_quantize) with the given number of threads. The output appears whole
// or not at all.
func Quantize(in, out, fileType string, threads int) error {
	ft, ok := FileTypes[fileType]
	if !ok {
		return failf("quantize", "use one of llama-quantize's types, such as Q8_0 or Q4_K_M", "unknown type %q", fileType)
	}
	if _, err := gguf.ReadModel(in); err != nil {
		return fmt.Errorf("quantize: %w", err)
	}
	start()
	takeErrors()
	return atomicfile.Replace(out, func(tmp string) error {
		cin, cout := C.CString(in), C.CString(tmp)
		defer C.free(unsafe.Pointer(cin))
		defer C.free(unsafe.Pointer(cout))
		if C.ivo_quantize(cin, cout, C.int32_t(ft), C.int32_t(threads)) != 0 {
			return &Error{Op: "quantize", Path: in, Err: errors.New(takeErrors()), Hint: "start from an F32, F16 or BF16 model"}
		}
		return nil
	})
}
