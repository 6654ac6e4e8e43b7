package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"

	"github.com/ivo-decoding/ivo/llama/blas"
	"github.com/ivo-decoding/ivo/llama/blas/openblas"
	"github.com/ivo-decoding/ivo/valuehead"
)

// The layer whose training is measured: minibatch states of width floats, hidden units.
const minibatch, width, hidden = 1024, 2048, 512

// product is a shape of matrix product: op(A) is [m][k], op(B) is [k][n].
type product struct {
	name    string
	tA, tB  bool
	m, n, k int
}

// products are those of a layer's training, the last of the layers above the first alone.
var products = []product{
	{"forward, X W^T", false, true, minibatch, hidden, width},
	{"dW = dY^T X", true, false, hidden, width, minibatch},
	{"dX = dY W", false, false, minibatch, width, hidden},
}

func (p product) gflop() float64 { return 2e-9 * float64(p.m) * float64(p.n) * float64(p.k) }

// run returns the product of random matrices by g, to be timed.
func (p product) run(g valuehead.Gemm) func() error {
	a, b, c := random(p.m*p.k), random(p.k*p.n), make([]float32, p.m*p.n)
	lda, ldb := p.k, p.n
	if p.tA {
		lda = p.m
	}
	if p.tB {
		ldb = p.k
	}
	return func() error {
		g(p.tA, p.tB, p.m, p.n, p.k, 1, a, lda, b, ldb, 0, c, p.n)
		return nil
	}
}

func random(n int) []float32 {
	rng, x := rand.New(rand.NewPCG(1, 1)), make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// onThreads is llama/blas with the rows of C shared out.
func onThreads(threads int) valuehead.Gemm {
	if threads == 1 {
		return blas.Gemm
	}
	return func(tA, tB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
		var wg sync.WaitGroup
		for t := range threads {
			from, to := m*t/threads, m*(t+1)/threads
			own := from * lda
			if tA {
				own = from
			}
			wg.Go(func() { blas.Gemm(tA, tB, to-from, n, k, alpha, a[own:], lda, b, ldb, beta, c[from*ldc:], ldc) })
		}
		wg.Wait()
	}
}

// loadOpenBLAS says which OpenBLAS is measured against, or why none is.
var loadOpenBLAS = sync.OnceValue(func() error {
	err := openblas.Load(os.Getenv("IVO_OPENBLAS"))
	if err == nil {
		fmt.Println(openblas.Config())
	} else {
		fmt.Println(err)
	}
	return err
})

// threadCounts are those that the machine has cores for, of one and two.
func threadCounts() []int {
	if runtime.GOMAXPROCS(0) == 1 {
		return []int{1}
	}
	return []int{1, 2}
}

// sgemm compares llama/blas with OpenBLAS on the products of training.
func sgemm(ctx context.Context, b *bench) error {
	missing := loadOpenBLAS()
	fmt.Printf("%-16s %-16s %8s %10s %10s  %s\n", "product", "[m][k] [k][n]", "threads", "llama/blas", "OpenBLAS", "of OpenBLAS [95 %]")
	for _, threads := range threadCounts() {
		for _, p := range products {
			runs := []func() error{p.run(onThreads(threads))}
			if missing == nil {
				openblas.SetThreads(threads)
				runs = append(runs, p.run(openblas.Gemm))
			}
			times, err := turns(ctx, 2*b.pairs, runs...)
			if err != nil {
				return err
			}
			theirs, ratio := "-", "-"
			if missing == nil {
				theirs, ratio = fmt.Sprintf("%.1f", p.gflop()/median(times[1])), share(times[1], times[0])
			}
			fmt.Printf("%-16s %-16s %8d %10.1f %10s  %s\n", p.name, fmt.Sprintf("%d %d %d", p.m, p.k, p.n), threads, p.gflop()/median(times[0]), theirs, ratio)
		}
	}
	fmt.Println("GFLOP/s of single precision in turns, medians; the threads of llama/blas share the rows of the result.")
	return nil
}
