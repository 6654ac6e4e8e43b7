package llama

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/cgo"
	"slices"
	"strings"
	"unsafe"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/gguf"
)

// fileTypes are the quantization mixes by llama-quantize's names (enum llama_ftype).
var fileTypes = map[string]int32{
	"F32": 0, "F16": 1, "BF16": 32, "Q4_0": 2, "Q4_1": 3, "Q5_0": 8, "Q5_1": 9, "Q8_0": 7,
	"Q2_K": 10, "Q3_K_S": 11, "Q3_K_M": 12, "Q3_K_L": 13, "Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17, "Q6_K": 18,
}

// FileTypes are the names that [Quantize] takes, sorted.
func FileTypes() []string { return slices.Sorted(maps.Keys(fileTypes)) }

// FileTypeOf is the name of a model's quantization mix by its header's own word
// (general.file_type): one of [FileTypes], or its number.
func FileTypeOf(f *gguf.File) string {
	n, ok := f.Int("general.file_type")
	if !ok {
		return "not stated"
	}
	for name, t := range fileTypes {
		if int64(t) == n {
			return name
		}
	}
	return fmt.Sprintf("type %d", n)
}

// QuantizeParams are the options of [Quantize] (llama_model_quantize_params).
type QuantizeParams struct {
	Type       string // one of [FileTypes], such as Q8_0 or Q4_K_M
	Threads    int    // default: the number of CPUs
	Requantize bool   // start from quantized weights too, which loses accuracy
	KeepOutput bool   // leave the output matrix as it is
	Pure       bool   // the same type for all matrices, no mix
	// Progress, if set, is called with values from 0 to 1 and cancels by returning false.
	Progress func(float32) bool
}

// Quantize writes the model at in to out in another storage format
// (llama_model_quantize). The output appears whole or not at all.
func Quantize(in, out string, p QuantizeParams) error {
	const op = "quantize"
	ft, ok := fileTypes[p.Type]
	switch {
	case !ok:
		return failf(op, "use one of "+strings.Join(FileTypes(), ", "), "unknown type %q", p.Type)
	case p.Threads < 0 || p.Threads > 4*runtime.NumCPU():
		return failf(op, fmt.Sprintf("this machine has %d CPUs", runtime.NumCPU()), "%d threads", p.Threads)
	}
	if p.Threads == 0 {
		p.Threads = runtime.NumCPU()
	}
	if _, err := gguf.ReadModel(in); err != nil {
		return fmt.Errorf("quantize: %w", err)
	}
	start()
	takeErrors()
	cp := C.ivo_quantize_params{
		ftype: C.int32_t(ft), n_threads: C.int32_t(p.Threads), allow_requantize: C.bool(p.Requantize),
		quantize_output: C.bool(!p.KeepOutput), pure: C.bool(p.Pure),
	}
	cancelled := false
	if p.Progress != nil {
		h := cgo.NewHandle(func(x float32) bool {
			cancelled = cancelled || !p.Progress(x)
			return !cancelled
		})
		defer h.Delete()
		cp.progress = C.uintptr_t(h)
	}
	err := atomicfile.Replace(out, func(tmp string) error {
		cin, cout := C.CString(in), C.CString(tmp)
		defer C.free(unsafe.Pointer(cin))
		defer C.free(unsafe.Pointer(cout))
		if C.ivo_quantize(cin, cout, &cp) == 0 {
			return nil
		}
		if cancelled {
			return &Error{Op: op, Path: in, Err: ErrCancelled}
		}
		return &Error{Op: op, Path: in, Err: errors.New(takeErrors()), Hint: "start from an F32, F16 or BF16 model"}
	})
	if err == nil && p.Progress != nil {
		p.Progress(1)
	}
	return err
}
