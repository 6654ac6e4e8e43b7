package train

/*
#cgo CFLAGS: -O3 -Wall
#cgo LDFLAGS: -lm
#cgo noescape rms_norm
#cgo nocallback rms_norm
#cgo noescape rms_norm_back
#cgo nocallback rms_norm_back
#cgo noescape rope
#cgo nocallback rope
#cgo noescape causal_softmax
#cgo nocallback causal_softmax
#cgo noescape causal_softmax_back
#cgo nocallback causal_softmax_back
#cgo noescape swiglu
#cgo nocallback swiglu
#cgo noescape swiglu_back
#cgo nocallback swiglu_back
#cgo noescape log_likelihood
#cgo nocallback log_likelihood
#cgo noescape log_likelihood_back
#cgo nocallback log_likelihood_back
#cgo noescape gather
#cgo nocallback gather
#cgo noescape gather_back
#cgo nocallback gather_back
#cgo noescape reduce
#cgo nocallback reduce
#cgo noescape adamw
#cgo nocallback adamw
#include "kernels.h"
*/
import "C"

import (
	"math"
	"unsafe"

	"github.com/ivo-decoding/ivo/llama/blas"
)

// The kernels of kernels.h. Slices hold at least the elements that their shapes say:
// all of them are the package's own buffers.

func floats(x []float32) *C.float { return (*C.float)(unsafe.Pointer(unsafe.SliceData(x))) }
func ints(x []int32) *C.int       { return (*C.int)(unsafe.Pointer(unsafe.SliceData(x))) }

func rmsNorm(n, d int, x, gain []float32, eps float32, y, inv []float32) {
	C.rms_norm(C.long(n), C.long(d), floats(x), floats(gain), C.float(eps), floats(y), floats(inv))
}

func rmsNormBack(n, d int, x, gain, inv, dy, dx, dgain []float32) {
	C.rms_norm_back(C.long(n), C.long(d), floats(x), floats(gain), floats(inv), floats(dy), floats(dx), floats(dgain))
}

func rope(n, heads, hd int, pos []int32, table []float32, direction float32, x []float32, ld int) {
	C.rope(C.long(n), C.long(heads), C.long(hd), ints(pos), floats(table), C.float(direction), floats(x), C.long(ld))
}

func causalSoftmax(n, first, cols int, x []float32, ld int) {
	C.causal_softmax(C.long(n), C.long(first), C.long(cols), floats(x), C.long(ld))
}

func causalSoftmaxBack(n, first, cols int, p, dx []float32, ld int) {
	C.causal_softmax_back(C.long(n), C.long(first), C.long(cols), floats(p), floats(dx), C.long(ld))
}

func swiglu(n, d int, x, y []float32) {
	C.swiglu(C.long(n), C.long(d), floats(x), floats(y))
}

func swigluBack(n, d int, x, dy, dx []float32) {
	C.swiglu_back(C.long(n), C.long(d), floats(x), floats(dy), floats(dx))
}

func logLikelihood(n, d int, x []float32, target, other []int32, share, out []float32) {
	C.log_likelihood(C.long(n), C.long(d), floats(x), ints(target), ints(other), floats(share), floats(out))
}

func logLikelihoodBack(n, d int, p []float32, target, other []int32, share, dout []float32) {
	C.log_likelihood_back(C.long(n), C.long(d), floats(p), ints(target), ints(other), floats(share), floats(dout))
}

func gather(n, d int, table []float32, row []int32, out []float32) {
	C.gather(C.long(n), C.long(d), floats(table), ints(row), floats(out))
}

func gatherBack(n, d int, row []int32, dout, dtable []float32) {
	C.gather_back(C.long(n), C.long(d), ints(row), floats(dout), floats(dtable))
}

func reduce(n, shards int, g []float32, stride int) float64 {
	return float64(C.reduce(C.long(n), C.long(shards), floats(g), C.long(stride)))
}

// linear computes y = x w^T, or adds it to y: x [n][in], w [out][in], y [n][out].
func linear(n, in, out int, x, w, y []float32, add bool) {
	blas.Gemm(false, true, n, out, in, 1, x, in, w, in, keep(add), y, out)
}

// linearBack computes dw = dy^T x, or adds it to dw, unless dw is nil, and dx = dy w.
func linearBack(n, in, out int, x, w, dy, dx, dw []float32, add bool) {
	if dw != nil {
		blas.Gemm(true, false, out, in, n, 1, dy, out, x, in, keep(add), dw, in)
	}
	blas.Gemm(false, false, n, in, out, 1, dy, out, w, in, 0, dx, in)
}

// keep is what a product multiplies its result's old content by.
func keep(add bool) float32 {
	if add {
		return 1
	}
	return 0
}

// adamw does step number t (from 1) on p.
func adamw(p, m, v, g []float32, scale, lr, decay float64, t int) {
	const b1, b2 = .9, .98
	c1, c2 := 1/(1-math.Pow(b1, float64(t))), 1/(1-math.Pow(b2, float64(t)))
	C.adamw(C.long(len(p)), floats(p), floats(m), floats(v), floats(g), C.float(scale),
		C.float(lr), b1, b2, C.float(c1), C.float(c2), C.float(decay))
}
