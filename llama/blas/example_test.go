package blas_test

import (
	"fmt"

	"github.com/ivo-decoding/ivo/llama/blas"
)

func ExampleGemm() {
	a := []float32{ // [2][3]
		1, 2, 3,
		4, 5, 6,
	}
	b := []float32{ // [2][3], of which the transpose is taken
		1, 0, 1,
		0, 2, 0,
	}
	c := make([]float32, 2*2)
	blas.Gemm(false, true, 2, 2, 3, 1, a, 3, b, 3, 0, c, 2)
	fmt.Println(c)
	// Output: [4 4 10 10]
}

// Probabilities of logits: the largest is subtracted, so that nothing overflows.
func ExampleExp() {
	x := []float32{101, 100, 100}
	sum := blas.Exp(x, 101)
	for i := range x {
		x[i] /= sum
	}
	fmt.Printf("%.3f\n", x)
	// Output: [0.576 0.212 0.212]
}
