// Package blas is what training and heads need in C: a matrix product, row-major,
// single precision, single-threaded, and the exponential function of many numbers. Both are
// safe to call from many goroutines at once. It knows nothing of models and links nothing
// but itself; packages that may not import it take [Gemm] and [Exp] through function values.
package blas

/*
#cgo CFLAGS: -O3 -Wall
#cgo noescape ivo_sgemm
#cgo nocallback ivo_sgemm
#cgo noescape ivo_exp
#cgo nocallback ivo_exp
#cgo noescape ivo_tilt
#cgo nocallback ivo_tilt
#include "exp.h"
#include "gemm.h"
*/
import "C"

import (
	"fmt"
	"sync"
	"unsafe"
)

type scratch [C.IVO_GEMM_SCRATCH]float32

var pool = sync.Pool{New: func() any { return new(scratch) }}

// Gemm computes C = alpha*op(A)*op(B) + beta*C, all matrices row-major: op(A) is
// [m][k], op(B) is [k][n], C is [m][n]. With tA, A is stored as [k][m]; with tB, B is
// stored as [n][k]. lda, ldb and ldc are the distances between rows as stored. With
// beta 0, C is not read. C must not overlap A or B.
//
// Like an index out of range, a slice too short for its shape panics.
func Gemm(tA, tB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	if m <= 0 || n <= 0 || k < 0 {
		if m < 0 || n < 0 || k < 0 {
			panic(fmt.Sprintf("blas: negative shape m=%d n=%d k=%d", m, n, k))
		}
		return
	}
	check("A", tA, m, k, a, lda)
	check("B", tB, k, n, b, ldb)
	check("C", false, m, n, c, ldc)
	s := pool.Get().(*scratch)
	C.ivo_sgemm(flag(tA), flag(tB), C.long(m), C.long(n), C.long(k),
		C.float(alpha), ptr(a), C.long(lda), ptr(b), C.long(ldb),
		C.float(beta), ptr(c), C.long(ldc), ptr(s[:]))
	pool.Put(s)
}

// Exp replaces every x[i] by e^(x[i]-shift), to a relative error of 3e-7, the exponent
// clamped to [-87, 88], and returns the sum. What becomes of a number does not depend on
// its place.
func Exp(x []float32, shift float32) (sum float32) {
	if len(x) == 0 {
		return 0
	}
	return float32(C.ivo_exp(ptr(x), C.long(len(x)), C.float(shift)))
}

// Tilt writes e^(p (x[i]-x0) + q (y[i]-y0)) to out[i], with the error and the clamps of [Exp], and
// returns the sum and that of out[i] (y[i]-y0). The slices are of one length.
func Tilt(out, x, y []float32, x0, p, y0, q float32) (sum, moment float32) {
	if len(x) != len(out) || len(y) != len(out) {
		panic(fmt.Sprintf("blas: %d, %d and %d values to tilt", len(out), len(x), len(y)))
	}
	if len(out) == 0 {
		return 0, 0
	}
	var first C.float
	total := C.ivo_tilt(ptr(out), ptr(x), ptr(y), C.long(len(out)), C.float(x0), C.float(p), C.float(y0), C.float(q), &first)
	return float32(total), float32(first)
}

// check panics unless x holds rows x cols elements (cols x rows when transposed)
// whose rows lie ld apart.
func check(name string, transposed bool, rows, cols int, x []float32, ld int) {
	if transposed {
		rows, cols = cols, rows
	}
	if rows == 0 || cols == 0 {
		return
	}
	if ld < cols || (rows-1)*ld+cols > len(x) {
		panic(fmt.Sprintf("blas: %s is %d x %d with rows %d apart, but holds %d values", name, rows, cols, ld, len(x)))
	}
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

func ptr(x []float32) *C.float { return (*C.float)(unsafe.Pointer(unsafe.SliceData(x))) }
