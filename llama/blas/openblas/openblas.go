// Package openblas loads the machine's OpenBLAS at run time, as a yardstick for package
// blas and what trains with it. Nothing links it: only measurements may use it.
package openblas

/*
#cgo CFLAGS: -O3 -Wall
#cgo linux LDFLAGS: -ldl
#cgo noescape ivo_openblas_sgemm
#cgo nocallback ivo_openblas_sgemm
#include <stdlib.h>
#include "openblas.h"
*/
import "C"

import (
	"errors"
	"unsafe"
)

// names are tried in order.
var names = []string{
	"libopenblas.so.0", "libopenblas.so",
	"libopenblas.dylib", "/opt/homebrew/opt/openblas/lib/libopenblas.dylib", "/usr/local/opt/openblas/lib/libopenblas.dylib",
}

// Load loads the library at path, or one in the usual places if path is empty. All of the
// package's other functions need it first; it cannot be unloaded.
func Load(path string) error {
	tried := names
	if path != "" {
		tried = []string{path}
	}
	for _, name := range tried {
		c := C.CString(name)
		ok := C.ivo_openblas_load(c) != 0
		C.free(unsafe.Pointer(c))
		if ok {
			return nil
		}
	}
	if path != "" {
		return errors.New("openblas: " + path + " is no OpenBLAS with the C interface (name the file of the shared library)")
	}
	return errors.New("openblas: none found (install it, as with apt-get install libopenblas0 or brew install openblas, or name its file in IVO_OPENBLAS)")
}

// Config is OpenBLAS' own words on its version, its build and the kernels that it chose for
// this machine.
func Config() string { return C.GoString(C.ivo_openblas_config()) }

// SetThreads sets the number of threads that one product uses.
func SetThreads(n int) { C.ivo_openblas_threads(C.int(n)) }

// Gemm is cblas_sgemm on row-major matrices, with the meaning that package blas gives its
// own Gemm. The caller answers for the bounds.
func Gemm(tA, tB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	C.ivo_openblas_sgemm(flag(tA), flag(tB), C.int(m), C.int(n), C.int(k), C.float(alpha), ptr(a), C.int(lda), ptr(b), C.int(ldb), C.float(beta), ptr(c), C.int(ldc))
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

func ptr(x []float32) *C.float { return (*C.float)(unsafe.Pointer(unsafe.SliceData(x))) }
