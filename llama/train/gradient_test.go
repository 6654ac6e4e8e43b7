package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// reference is the second implementation: the network in double precision, a number at a time,
// from its papers' equations.
type reference struct {
	c       Config
	params  map[string][]float64
	learned []float64            // the numbers that are learned
	adapted map[string]loraTerms // of matrices
}

// loraTerms are A [rank][cols] and some rows of B [rows][rank].
type loraTerms struct{ a, b []float64 }

func referenceOf(l *learned) reference {
	c := l.model.Config
	r := reference{c, map[string][]float64{}, double(l.flat), map[string]loraTerms{}}
	params := r.learned
	if l.rank > 0 {
		params = double(l.base)
	}
	for _, t := range c.tensors() {
		n := t.rows * t.cols
		r.params[t.name], params = params[:n], params[n:]
	}
	if l.rank == 0 {
		return r
	}
	rest := r.learned
	cut := func(n int) (x []float64) {
		x, rest = rest[:n], rest[n:]
		return x
	}
	for i := range c.Layers {
		for _, m := range []struct {
			names []string
			rows  []int
			cols  int
		}{
			{[]string{"attn_q", "attn_k", "attn_v"}, []int{c.Width, c.kv(), c.kv()}, c.Width}, {[]string{"attn_output"}, []int{c.Width}, c.Width},
			{[]string{"ffn_gate", "ffn_up"}, []int{c.FF, c.FF}, c.Width}, {[]string{"ffn_down"}, []int{c.Width}, c.FF},
		} {
			a := cut(l.rank * m.cols)
			for k, name := range m.names {
				r.adapted[fmt.Sprintf("blk.%d.%s.weight", i, name)] = loraTerms{a, cut(m.rows[k] * l.rank)}
			}
		}
	}
	if len(rest) > 0 {
		r.params["output_norm.weight"], r.params[outputName] = rest[:c.Width], rest[c.Width:]
	}
	return r
}

func double(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// multiply is W x.
func (r reference) multiply(name string, x []float64) []float64 {
	w := r.params[name]
	y := make([]float64, len(w)/len(x))
	for i := range y {
		for j, v := range x {
			y[i] += w[i*len(x)+j] * v
		}
	}
	if l, ok := r.adapted[name]; ok {
		rank := len(l.a) / len(x)
		for k := range rank {
			ax := 0.0
			for j, v := range x {
				ax += l.a[k*len(x)+j] * v
			}
			for i := range y {
				y[i] += adapterScale * l.b[i*rank+k] * ax
			}
		}
	}
	return y
}

func (r reference) norm(name string, x []float64) []float64 {
	square := 0.0
	for _, v := range x {
		square += v * v / float64(len(x))
	}
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v / math.Sqrt(square+float64(r.c.Eps)) * r.params[name][i]
	}
	return y
}

// rotate turns the pairs of a head by their position.
func (r reference) rotate(x []float64, pos int) {
	for i := 0; i < r.c.head(); i += 2 {
		sin, cos := math.Sincos(float64(pos) * math.Pow(float64(r.c.Theta), -float64(i)/float64(r.c.head())))
		x[i], x[i+1] = x[i]*cos-x[i+1]*sin, x[i]*sin+x[i+1]*cos
	}
}

// outputs are the network's, of every token.
func (r reference) outputs(tokens []int32) (out [][]float64) {
	c, hd := r.c, r.c.head()
	x := make([][]float64, len(tokens))
	for t, token := range tokens {
		x[t] = append(x[t], r.params["token_embd.weight"][int(token)*c.Width:][:c.Width]...)
	}
	add := func(to, what []float64) {
		for i, v := range what {
			to[i] += v
		}
	}
	names := c.tensors()[1:]
	for range c.Layers {
		layer := map[string]string{}
		for i, s := range []string{"norm1", "q", "k", "v", "o", "norm2", "gate", "up", "down"} {
			layer[s] = names[i].name
		}
		names = names[9:]
		var keys, values [][]float64
		for t := range x {
			h := r.norm(layer["norm1"], x[t])
			q, k := r.multiply(layer["q"], h), r.multiply(layer["k"], h)
			for i := range c.Heads {
				r.rotate(q[i*hd:], t)
			}
			for i := range c.KV {
				r.rotate(k[i*hd:], t)
			}
			keys, values = append(keys, k), append(values, r.multiply(layer["v"], h))
			heads := make([]float64, c.Width)
			for i := range c.Heads {
				of := i * c.KV / c.Heads * hd
				weights, sum := make([]float64, t+1), 0.0
				for s := range weights {
					for d := range hd {
						weights[s] += q[i*hd+d] * keys[s][of+d] / math.Sqrt(float64(hd))
					}
					weights[s] = math.Exp(weights[s])
					sum += weights[s]
				}
				for s, w := range weights {
					for d := range hd {
						heads[i*hd+d] += w / sum * values[s][of+d]
					}
				}
			}
			add(x[t], r.multiply(layer["o"], heads))
			h = r.norm(layer["norm2"], x[t])
			gate, up := r.multiply(layer["gate"], h), r.multiply(layer["up"], h)
			for i, g := range gate {
				up[i] *= g / (1 + math.Exp(-g))
			}
			add(x[t], r.multiply(layer["down"], up))
		}
	}
	name := outputName
	if c.Tied {
		name = "token_embd.weight"
	}
	for t := range x {
		out = append(out, r.multiply(name, r.norm("output_norm.weight", x[t])))
	}
	return out
}

// loss is the sum of the examples' losses.
func (r reference) loss(examples []example, f loss) (sum float64) {
	for _, e := range examples {
		score := -e.offset
		for k, d := range e.docs {
			for t, y := range r.outputs(d.Tokens[:d.rows()]) {
				said := y[0]
				if len(y) > 1 {
					lse := 0.0
					for _, v := range y {
						lse += math.Exp(v)
					}
					c := d.class(t)
					said = (1-float64(c.ShareB))*y[c.A] + float64(c.ShareB)*y[c.B] - math.Log(lse)
				}
				score += sign(k) * float64(d.weight(t)) * said
			}
		}
		l, _ := f(score)
		sum += l
	}
	return sum
}

// gradientCase is a shape, a loss, and examples for it.
type gradientCase struct {
	cfg      Config
	loss     loss
	examples []example
	rank     int // of adapters; 0 without
}

func gradientCases() map[string]gradientCase {
	base := Config{Vocab: 7, Width: 8, Layers: 2, Heads: 2, FF: 6, Context: 70, Theta: 50}
	with := func(change func(*Config)) Config {
		c := base
		change(&c)
		return c
	}
	grouped := func(c *Config) { c.Heads, c.KV, c.Tied, c.Eps = 4, 2, true, .01 }
	classes := func(c Config) []example {
		r := rand.New(rand.NewPCG(4, 4))
		docs := randomDocs(3, 9, c, 1)
		for i := range docs {
			for range docs[i].Tokens {
				docs[i].Classes = append(docs[i].Classes, Class{int32(r.IntN(c.Outputs)), int32(r.IntN(c.Outputs)), r.Float32()})
			}
		}
		return examplesOf(docs)
	}
	cases := map[string]gradientCase{
		"untied":          {cfg: base},
		"tied":            {cfg: with(func(c *Config) { c.Tied = true })},
		"grouped, tied":   {cfg: with(grouped)},
		"one key head":    {cfg: with(func(c *Config) { c.KV = 1 })},
		"several classes": {cfg: with(func(c *Config) { c.Outputs = 5 })},
	}
	for name, c := range cases {
		c.loss, c.examples = likelihood, examplesOf(randomDocs(3, 9, c.cfg, 1))
		if c.cfg.Outputs > 0 {
			c.examples = classes(c.cfg)
		}
		cases[name] = c
	}
	pairs := func(c Config) (out []Pair) {
		docs := randomDocs(4, 6, c, 3)
		for i := 0; i < len(docs); i += 2 {
			out = append(out, Pair{docs[i], docs[i+1], .3 * float64(i)})
		}
		return out
	}
	policy, score := with(grouped), with(func(c *Config) { c.KV, c.Outputs = 1, 1 })
	cases["Bradley-Terry"] = gradientCase{score, logistic(1), examplesOfPairs(scored(pairs(score))), 0}
	cases["DPO"] = gradientCase{policy, DPO(.2).of, examplesOfPairs(pairs(policy)), 0}
	cases["IPO"] = gradientCase{policy, IPO(.4).of, examplesOfPairs(pairs(policy)), 0}
	cases["DPO of adapters"] = gradientCase{policy, DPO(.2).of, examplesOfPairs(pairs(policy)), 3}
	cases["Bradley-Terry of adapters"] = gradientCase{score, logistic(1), examplesOfPairs(scored(pairs(score))), 2}
	// One document of more than one block of queries.
	long := with(func(c *Config) { c.Layers = 1 })
	cases["long"] = gradientCase{long, likelihood, examplesOf(randomDocs(1, queryBlock+6, long, 2)), 0}
	return cases
}

// The gradient of every parameter is that of the second implementation by differences, in which
// double precision leaves eight digits.
func TestGradients(t *testing.T) {
	for name, test := range gradientCases() {
		t.Run(name, func(t *testing.T) {
			m, err := New(test.cfg, 3)
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(5, 5))
			perturb := func(x []float32) { // larger than at the start, so that every path carries a gradient
				for i := range x {
					x[i] += .6 * (r.Float32() - .5)
				}
			}
			perturb(m.params)
			l := m.learn(test.rank, 1)
			if test.rank > 0 {
				perturb(l.flat)
				l.apply(1)
			}
			rows, _ := size(test.examples)
			_, longest := largest(test.examples)
			p := newPass(m.Config, rows, longest, true)
			w, grad := m.Config.view(m.params), make([]float32, len(l.flat))
			sum := 0.0
			half := (len(test.examples) + 1) / 2
			for i, some := range [][]example{test.examples[:half], test.examples[half:]} {
				p.load(some)
				p.forward(w)
				sum += p.loss(test.loss, 1)
				p.backward(w, l.gradient(grad), i > 0)
			}

			second := referenceOf(l)
			if want := second.loss(test.examples, test.loss); math.Abs(sum-want) > 1e-5*math.Abs(want) {
				t.Errorf("loss %.8f, in double precision %.8f", sum, want)
			}
			at := 0
			for _, ts := range l.tensors {
				var apart, norm float64
				for range ts.rows * ts.cols {
					loss := func(h float64) float64 {
						old := second.learned[at]
						second.learned[at] += h
						defer func() { second.learned[at] = old }()
						return second.loss(test.examples, test.loss)
					}
					const h = 1e-5
					want := (loss(h) - loss(-h)) / (2 * h)
					apart += (float64(grad[at]) - want) * (float64(grad[at]) - want)
					norm += want * want
					at++
				}
				if norm == 0 || math.Sqrt(apart/norm) > 1e-4 {
					t.Errorf("%s: the gradient is off by %.2g of its norm %.3g", ts.name, math.Sqrt(apart/norm), math.Sqrt(norm))
				}
			}
			if at != len(l.flat) {
				t.Errorf("tensors hold %d parameters of %d", at, len(l.flat))
			}
		})
	}
}
