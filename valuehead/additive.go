package valuehead

import (
	"context"
	"math"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Embeddings are the token embeddings of a model, one row for each token of the vocabulary.
type Embeddings interface {
	Len() int
	Width() int
	// Rows writes the rows from one on to dst, as many as it has room for.
	Rows(from int, dst []float32) error
}

const (
	folds       = 5
	mostRank    = 32
	leastGain   = 0.01 // in R2 at the last state, for which a table is made to depend on the prompt, or richer
	repeating   = 0.05 // and for which tokens count again; a policy that follows such a table says its best words again and again
	tightly     = 1e-4 // residual of a solution, as a share of the right side, in cross-validation
	veryTightly = 1e-6 // and of the one that is kept
)

// additive holds the responses that an additive value is fitted to. The value at the end of
// response i is
//
//	v0 + <U f_i, S_i> + <c, H_i> + <q, g_i>,  f = [1 sqrt(product/rank) z], g = sqrt(prompt/dirs) z,
//
// S being the sum of its tokens' embeddings, of each token as often as it is said or once: all made of length 1, less their mean over all
// responses, so that the response's length does not matter, and half-way whitened, by the
// fourth root of their covariance, for the directions of commas and of articles are large. H are
// the same sums of the tokens themselves, each a direction of its own, less their mean, and
// scaled as S is: what a token is worth that its embedding does not tell. The penalty is lambda (|U|^2 + |c|^2/words +
// |q|^2). In the dual, which is solved by conjugate gradients, the kernel is <S, S'> (1 +
// product/rank <z, z'>) + words <H, H'> + prompt/dirs <z, z'>: products with it need the factors
// alone. A squashed value is fitted to the sums that would give the returns.
type additive struct {
	n, width, dirs int
	sums           []float32 // [n][width], scaled to a mean square length of 1
	z              []float32 // [n][dirs]
	returns        []float32
	fold           []int
	texts          [][]int32 // tokens, as rows of embedded; again where one does not count again
	once           bool      // each token of a response counts once
	plain          []float32 // [distinct tokens][width], embeddings of length 1
	embedded       []float32 // [distinct tokens][width], (embedding - mean) metric
	mean           []float32 // [width] of the tokens' embeddings
	metric         []float32 // [width][width], symmetric
	share          []float64 // [distinct tokens] of all that is said
	apart          float64   // mean of |H|^2
	squash         squash    // of the returns
	prompts        directions
	rows           map[int32]int // of embedded
}

// collectAdditive reads the responses of entries.
func collectAdditive(ctx context.Context, src Source, entries []entry, embeddings Embeddings, workers int) (*additive, error) {
	a := &additive{n: len(entries), width: embeddings.Width(), rows: make(map[int32]int)}
	prompt := make(map[string]int)
	var of []int
	var states []float32
	row := make([]float32, a.width)
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		ex, err := src.At(e.index)
		if err != nil {
			return nil, err
		}
		var text []int32
		for _, y := range ex.Trajectory.Tokens {
			i, ok := a.rows[y]
			if !ok {
				if y < 0 || int(y) >= embeddings.Len() {
					return nil, fault.New(op, "model", nil, "train with the {model} that wrote the responses", "token %d of a response is not among the %d embeddings", y, embeddings.Len())
				}
				if err := embeddings.Rows(int(y), row); err != nil {
					return nil, err
				}
				unitRows(row, a.width)
				i = len(a.rows)
				a.rows[y], a.plain = i, append(a.plain, row...)
			}
			text = append(text, int32(i))
		}
		a.texts, a.returns = append(a.texts, text), append(a.returns, ex.Return)
		a.fold = append(a.fold, foldOf(e.prompt))
		if ex.Prompt == nil || src.Features().promptWidth == 0 {
			continue
		}
		p, ok := prompt[e.prompt]
		if !ok {
			p = len(prompt)
			prompt[e.prompt], states = p, append(states, src.Features().promptMean(ex.Prompt)...)
		}
		of = append(of, p)
	}
	a.squash = squashOf(a.returns)
	a.shape(workers)
	if len(of) < a.n { // some prompts have no states
		return a, nil
	}
	a.prompts = fitDirections(states, len(prompt), min(mostRank, len(prompt)/4))
	a.dirs = a.prompts.rank()
	w := src.Features().promptWidth
	for _, p := range of {
		a.z = a.prompts.of(a.z, states[p*w:(p+1)*w])
	}
	return a, nil
}

// foldOf is the part of the cross-validation that a prompt is left out of, by its name.
func foldOf(prompt string) int { return foldOfN(prompt, folds) }

func foldOfN(prompt string, n int) int { return int(xxhash.Sum64String(prompt) % uint64(n)) }

// leastVariance is added to all variances before they are levelled, as a share of their mean.
const leastVariance = 1e-2

// again stands for a token that was said before, where each counts once.
const again = -1

// different is the same data, of which each token of a response counts once: a value in which
// saying a good word again gains nothing.
func (a *additive) different(workers int) *additive {
	b := *a
	b.once, b.texts = true, nil
	for _, text := range a.texts {
		text = slices.Clone(text)
		for i, t := range text {
			if slices.Contains(text[:i], t) {
				text[i] = again
			}
		}
		b.texts = append(b.texts, text)
	}
	b.shape(workers)
	return &b
}

// shape takes the mean off the embeddings, levels their variances half-way, and adds them up.
func (a *additive) shape(workers int) {
	w, n := a.width, 0.0
	counts := make([]float64, len(a.rows))
	for _, text := range a.texts {
		for _, t := range text {
			if t != again {
				counts[t]++
			}
		}
	}
	a.mean, a.embedded, a.share = nil, slices.Clone(a.plain), nil
	mean := make([]float64, w)
	for i, c := range counts {
		n += c
		for j, v := range a.embedded[i*w : (i+1)*w] {
			mean[j] += c * float64(v)
		}
	}
	for _, v := range mean {
		a.mean = append(a.mean, float32(v/max(n, 1)))
	}
	for _, c := range counts {
		a.share = append(a.share, c/max(n, 1))
	}
	a.shift(a.embedded)
	weighted := make([]float32, len(a.embedded))
	for i, c := range counts {
		copy(weighted[i*w:], a.embedded[i*w:(i+1)*w])
		scale(weighted[i*w:(i+1)*w], float32(math.Sqrt(c/n)))
	}
	cov, trace := make([]float32, w*w), 0.0
	if len(counts) > 0 {
		gemm(true, false, w, w, len(counts), 1, weighted, w, weighted, w, 0, cov, w)
	}
	for j := range w {
		trace += float64(cov[j*w+j]) / float64(w)
	}
	if trace == 0 {
		trace = 1
	}
	for j := range w {
		cov[j*w+j] += float32(leastVariance * trace)
	}
	root, _ := roots(cov, w, workers)
	_, a.metric = roots(root, w, workers)
	gemm(false, false, len(counts), w, w, 1, a.embedded, w, a.metric, w, 0, weighted, w)
	a.embedded = weighted
	a.sum()
	a.spread()
}

// spread sets the mean of |H|^2.
func (a *additive) spread() {
	shares := 0.0
	for _, p := range a.share {
		shares += p * p
	}
	count := make([]float64, len(a.rows))
	a.apart = 0
	for _, text := range a.texts {
		n, squares, product := 0.0, 0.0, 0.0
		for _, t := range text {
			if t != again {
				n, squares, product = n+1, squares+2*count[t]+1, product+a.share[t]
				count[t]++
			}
		}
		for _, t := range text {
			if t != again {
				count[t] = 0
			}
		}
		a.apart += (squares - 2*n*product + n*n*shares) / float64(a.n)
	}
}

// sum adds up the responses, and scales all to sums of a mean square length of 1.
func (a *additive) sum() {
	w, squares := a.width, 0.0
	a.sums = make([]float32, a.n*w)
	for i, text := range a.texts {
		sum := a.sums[i*w : (i+1)*w]
		for _, t := range text {
			if t == again {
				continue
			}
			for j, v := range a.embedded[int(t)*w:][:w] {
				sum[j] += v
			}
		}
		for _, v := range sum {
			squares += float64(v) * float64(v)
		}
	}
	if squares > 0 {
		by := float32(math.Sqrt(float64(a.n) / squares))
		scale(a.sums, by)
		scale(a.embedded, by)
		scale(a.metric, by)
	}
}

// shift takes the mean off rows of embeddings.
func (a *additive) shift(x []float32) {
	for at := 0; at < len(x); at += a.width {
		for j, m := range a.mean {
			x[at+j] -= m
		}
	}
}

// unitRows makes every row that is not zero of length 1: some tokens are long, most of them
// seldom seen.
func unitRows(x []float32, w int) {
	for at := 0; at < len(x); at += w {
		squares := 0.0
		for _, v := range x[at : at+w] {
			squares += float64(v) * float64(v)
		}
		if squares > 0 {
			scale(x[at:at+w], float32(1/math.Sqrt(squares)))
		}
	}
}
