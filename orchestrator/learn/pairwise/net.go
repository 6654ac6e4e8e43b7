package pairwise

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/llama/blas"
	"github.com/ivo-decoding/ivo/valuehead"
)

// net is a head that is trained by steps: of the rows of an answer, each of which may go through a
// hidden layer, the weighted sum, and a linear output of it.
//
//	h_t = max(0, U x_t + b)       or x_t without a hidden layer
//	r   = v . sum_t a_t h_t + l n / longest
//
// where a_t is softmax(q . x_t) with attention, else the share that the pooling gives a row.
type net struct {
	in, hidden int // hidden is 0 without that layer
	attends    bool
	longest    float64 // of sums; 0 of one row, whose share is 1

	params, grad       []float32
	u, b, v, q, length []float32 // parts of params
	du, db, dv, dq, dl []float32

	mean, unit []float32 // of the rows' columns, which are brought to zero and one
}

// rows are those of the two sides of a pair, [n][in] each.
type rows [2][]float32

func newNet(in, hidden int, attends bool, longest int, seed uint64) *net {
	n := &net{in: in, hidden: hidden, attends: attends, longest: float64(longest)}
	width := in
	if hidden > 0 {
		width = hidden
	}
	sizes := []int{in * hidden, hidden, width, 0, 0}
	if attends {
		sizes[3] = in
	}
	if longest > 0 {
		sizes[4] = 1
	}
	total := 0
	for _, s := range sizes {
		total += s
	}
	n.params, n.grad = make([]float32, total), make([]float32, total)
	at := 0
	for i, to := range []*[]float32{&n.u, &n.b, &n.v, &n.q, &n.length} {
		*to = n.params[at : at+sizes[i]]
		*[]*[]float32{&n.du, &n.db, &n.dv, &n.dq, &n.dl}[i] = n.grad[at : at+sizes[i]]
		at += sizes[i]
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range n.u { // U is [in][hidden]
		n.u[i] = float32(rng.NormFloat64() * math.Sqrt(2/float64(in)))
	}
	if hidden > 0 {
		for i := range n.v {
			n.v[i] = float32(rng.NormFloat64() / math.Sqrt(float64(hidden)) * 0.1)
		}
	}
	return n
}

// standardise finds the scale of the rows' columns, and brings them to it.
func (n *net) standardise(all []rows) {
	n.mean, n.unit = make([]float32, n.in), make([]float32, n.in)
	mean, square, count := make([]float64, n.in), make([]float64, n.in), 0.0
	each := func(f func(x []float32)) {
		for _, r := range all {
			for _, side := range r {
				for i := 0; i < len(side); i += n.in {
					f(side[i : i+n.in])
				}
			}
		}
	}
	each(func(x []float32) {
		count++
		for j, v := range x {
			mean[j] += float64(v)
			square[j] += float64(v) * float64(v)
		}
	})
	for j := range mean {
		mean[j] /= count
		n.mean[j] = float32(mean[j])
		if n.unit[j] = float32(math.Sqrt(max(0, square[j]/count-mean[j]*mean[j]))); n.unit[j] == 0 {
			n.unit[j] = 1
		}
	}
	each(func(x []float32) {
		for j := range x {
			x[j] = (x[j] - n.mean[j]) / n.unit[j]
		}
	})
}

// pass computes the rewards of some answers; with by, also adds the gradient of sum by_i r_i. keep
// drops hidden units: nil keeps all.
func (n *net) pass(answers [][]float32, by func(r []float64) []float64, keep []float32) []float64 {
	total := 0
	for _, x := range answers {
		total += len(x)
	}
	x := make([]float32, 0, total)
	for _, a := range answers {
		x = append(x, a...)
	}
	m := total / n.in
	h, width := x, n.in
	if n.hidden > 0 {
		width = n.hidden
		h = make([]float32, m*width)
		for i := range m {
			copy(h[i*width:], n.b)
		}
		blas.Gemm(false, false, m, width, n.in, 1, x, n.in, n.u, width, 1, h, width)
		for i, v := range h {
			if v <= 0 {
				h[i] = 0
			} else if keep != nil {
				h[i] *= keep[i%width]
			}
		}
	}
	share := n.shares(answers, x)
	values := make([]float32, m) // v . h_t
	blas.Gemm(false, false, m, 1, width, 1, h, width, n.v, 1, 0, values, 1)
	rewards := make([]float64, len(answers))
	at := 0
	for i, a := range answers {
		rowsOf := len(a) / n.in
		for t := at; t < at+rowsOf; t++ {
			rewards[i] += share[t] * float64(values[t])
		}
		if n.longest > 0 {
			rewards[i] += float64(n.length[0]) * float64(rowsOf) / n.longest
		}
		at += rowsOf
	}
	if by == nil {
		return rewards
	}
	at = 0
	weight := make([]float32, m) // of h_t in the sum of by_i r_i, but for v
	attention := make([]float32, m)
	for i, g := range by(rewards) {
		rowsOf := len(answers[i]) / n.in
		for t := at; t < at+rowsOf; t++ {
			weight[t] = float32(g * share[t])
			if n.attends {
				attention[t] = float32(g * share[t] * (float64(values[t]) - rewards[i]))
			}
		}
		if n.longest > 0 {
			n.dl[0] += float32(g * float64(rowsOf) / n.longest)
		}
		at += rowsOf
	}
	blas.Gemm(true, false, width, 1, m, 1, h, width, weight, 1, 1, n.dv, 1)
	if n.attends {
		blas.Gemm(true, false, n.in, 1, m, 1, x, n.in, attention, 1, 1, n.dq, 1)
	}
	if n.hidden > 0 {
		for i, v := range h {
			if v == 0 {
				continue
			}
			j := i % width
			d := weight[i/width] * n.v[j]
			if keep != nil {
				d *= keep[j]
			}
			h[i] = d
		}
		blas.Gemm(true, false, n.in, width, m, 1, x, n.in, h, width, 1, n.du, width)
		for i, d := range h {
			n.db[i%width] += d
		}
	}
	return rewards
}

// shares are what each row counts in its answer's sum.
func (n *net) shares(answers [][]float32, x []float32) []float64 {
	share := make([]float64, len(x)/n.in)
	at := 0
	for _, a := range answers {
		some := share[at : at+len(a)/n.in]
		at += len(some)
		switch {
		case n.attends:
			logits := make([]float32, len(some))
			blas.Gemm(false, false, len(some), 1, n.in, 1, a, n.in, n.q, 1, 0, logits, 1)
			most, sum := slices.Max(logits), 0.0
			for i, l := range logits {
				some[i] = math.Exp(float64(l - most))
				sum += some[i]
			}
			for i := range some {
				some[i] /= sum
			}
		case n.longest > 0:
			for i := range some {
				some[i] = 1 / n.longest
			}
		default:
			for i := range some {
				some[i] = 1
			}
		}
	}
	return share
}

// schedule is how a net is trained.
type schedule struct {
	epochs, batch int
	rate, decay   float64
	drop          float64 // share of the hidden units
	noise         float64 // see Options
	seed          uint64
}

// train fits the net to pairs by AdamW (arXiv 1711.05101) with a rate that falls to nothing, and
// calls after with the number of epochs done; it ends early where that says so.
func (n *net) train(ctx context.Context, pairs []rows, margin []float64, s schedule, after func(epoch int) (stop bool)) error {
	const beta1, beta2, epsilon = 0.9, 0.999, 1e-8
	rng := rand.New(rand.NewPCG(s.seed, 1))
	first, second := make([]float64, len(n.params)), make([]float64, len(n.params))
	order := make([]int, len(pairs))
	for i := range order {
		order[i] = i
	}
	batches := (len(pairs) + s.batch - 1) / s.batch
	step := 0
	for epoch := range s.epochs {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for b := range batches {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			some := order[b*s.batch : min((b+1)*s.batch, len(order))]
			var answers [][]float32
			for _, i := range some {
				answers = append(answers, pairs[i][chosen], pairs[i][rejected])
			}
			var keep []float32
			if s.drop > 0 && n.hidden > 0 {
				keep = make([]float32, n.hidden)
				for j := range keep {
					if rng.Float64() >= s.drop {
						keep[j] = float32(1 / (1 - s.drop))
					}
				}
			}
			clear(n.grad)
			n.pass(answers, func(r []float64) []float64 {
				by := make([]float64, len(r))
				for k, i := range some {
					_, slope := valuehead.Surprise(r[2*k]-r[2*k+1]-margin[i], s.noise)
					g := slope / float64(len(some))
					by[2*k], by[2*k+1] = g, -g
				}
				return by
			}, keep)
			rate := s.rate * 0.5 * (1 + math.Cos(math.Pi*float64(step)/float64(batches*s.epochs)))
			step++
			c1, c2 := 1-math.Pow(beta1, float64(step)), 1-math.Pow(beta2, float64(step))
			for i, g := range n.grad {
				first[i] += (1 - beta1) * (float64(g) - first[i])
				second[i] += (1 - beta2) * (float64(g)*float64(g) - second[i])
				p := float64(n.params[i]) * (1 - rate*s.decay)
				n.params[i] = float32(p - rate*first[i]/c1/(math.Sqrt(second[i]/c2)+epsilon))
			}
		}
		if after != nil && after(epoch+1) {
			break
		}
	}
	return nil
}

// differences are those of the sides' rewards.
func (n *net) differences(pairs []rows) []float64 {
	out := make([]float64, len(pairs))
	for i, p := range pairs {
		r := n.pass([][]float32{p[chosen], p[rejected]}, nil, nil)
		out[i] = r[0] - r[1]
	}
	return out
}
