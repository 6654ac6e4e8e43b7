package winrate

import (
	"math"
	"math/rand/v2"
	"slices"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// spread is the standard deviation of the normal prior of the regression's coefficients: what data say of
// them is left alone, and what they say nothing of stays finite.
const spread = 10

// lengths are the features of pairs: how much longer the answer of a is than that of b, in characters, divided by the
// standard deviation of that, and squashed by tanh (arXiv 2404.04475, section 3). false where all pairs
// differ alike, so that nothing can be said of length.
func lengths(pairs []Pair) ([]float64, bool) {
	xs := make([]float64, len(pairs))
	mean := 0.0
	for i, p := range pairs {
		xs[i] = float64(utf8.RuneCountInString(p.A.Text) - utf8.RuneCountInString(p.B.Text))
		mean += xs[i] / float64(len(pairs))
	}
	sum := 0.0
	for _, x := range xs {
		sum += (x - mean) * (x - mean)
	}
	sd := math.Sqrt(sum / float64(max(1, len(xs)-1)))
	if sd < 1e-9 {
		return nil, false
	}
	for i, x := range xs {
		xs[i] = math.Tanh(x / sd)
	}
	return xs, true
}

// regression is P(a is better) = sigmoid(Better + Length x), x being a feature of [lengths]: AlpacaEval 2's without
// its term for how hard a prompt is, which is known from the verdicts on many models only.
type regression struct{ better, length float64 }

// fit finds the likeliest coefficients by Newton's method, from r on; ys are shares of wins in [0,1], ws weights.
func (r regression) fit(xs, ys, ws []float64) regression {
	now := r.likelihood(xs, ys, ws)
	for range 100 {
		det := now.h00*now.h11 - now.h01*now.h01
		step := regression{(now.h11*now.g0 - now.h01*now.g1) / det, (now.h00*now.g1 - now.h01*now.g0) / det}
		for { // shorter, where it leads too far
			next := regression{r.better - step.better, r.length - step.length}
			l := next.likelihood(xs, ys, ws)
			small := math.Abs(step.better)+math.Abs(step.length) < 1e-8
			if small || l.loss <= now.loss {
				r, now = next, l
				if small {
					return r
				}
				break
			}
			step = regression{step.better / 2, step.length / 2}
		}
	}
	return r
}

// likelihood is the negative log-posterior with its gradient and Hessian.
type likelihood struct{ loss, g0, g1, h00, h01, h11 float64 }

func (r regression) likelihood(xs, ys, ws []float64) likelihood {
	const penalty = 1.0 / (spread * spread)
	l := likelihood{penalty * (r.better*r.better + r.length*r.length) / 2, penalty * r.better, penalty * r.length, penalty, 0, penalty}
	for i, x := range xs {
		if ws[i] == 0 {
			continue
		}
		z := r.better + r.length*x
		e := math.Exp(-math.Abs(z))
		p := 1 / (1 + e)
		if z < 0 {
			p = e / (1 + e)
		}
		d, h := ws[i]*(p-ys[i]), ws[i]*e/((1+e)*(1+e))
		l.loss += ws[i] * (max(z, 0) + math.Log1p(e) - ys[i]*z)
		l.g0, l.g1 = l.g0+d, l.g1+d*x
		l.h00, l.h01, l.h11 = l.h00+h, l.h01+h*x, l.h11+h*x*x
	}
	return l
}

func sigmoid(z float64) float64 { return 1 / (1 + math.Exp(-z)) }

// LengthControlled is what the win rate would be were all answers of one length.
type LengthControlled struct {
	WinRate eval.Interval `json:"win_rate"`
	// Coefficient is what the log-odds of a win grow by where an answer is far longer: 0 of a judge that does
	// not care.
	Coefficient float64 `json:"coefficient"`
}

// resamples of its bootstrap, each of which costs a regression.
const resamples = 1000

// control is the win rate with length taken out of it, with its percentile bootstrap interval over prompts; ys are the
// shares of wins of the pairs, of which those of a prompt stay together and count as one. nil where all
// pairs differ in length alike.
func control(pairs []Pair, ys []float64, seed uint64) *LengthControlled {
	xs, ok := lengths(pairs)
	if !ok {
		return nil
	}
	of, prompts := byPrompt(pairs)
	samples := make([]float64, prompts)
	for _, k := range of {
		samples[k]++
	}
	ws, drawn := make([]float64, len(pairs)), make([]float64, prompts)
	fit := func(from regression) regression {
		for i, k := range of {
			ws[i] = drawn[k] / samples[k]
		}
		return from.fit(xs, ys, ws)
	}
	for k := range drawn {
		drawn[k] = 1
	}
	r := fit(regression{})
	rng := rand.New(rand.NewPCG(seed, uint64(prompts)))
	rates := make([]float64, resamples)
	for i := range rates {
		clear(drawn)
		for range prompts {
			drawn[rng.IntN(prompts)]++
		}
		rates[i] = sigmoid(fit(r).better)
	}
	slices.Sort(rates)
	return &LengthControlled{eval.Interval{Mean: sigmoid(r.better), Lo: rates[resamples*25/1000], Hi: rates[resamples*975/1000-1]}, r.length}
}

// byPrompt numbers the prompts of pairs.
func byPrompt(pairs []Pair) (of []int, prompts int) {
	at := map[string]int{}
	for _, p := range pairs {
		k, ok := at[p.Prompt.ID]
		if !ok {
			k = len(at)
			at[p.Prompt.ID] = k
		}
		of = append(of, k)
	}
	return of, len(at)
}
