package decode

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// Guide are the options of tokenwise guidance: at a guided state the TopK likeliest tokens
// y get the weight pi_base(y) exp(Beta V(s, y)), and Rest says what all others get.
type Guide struct {
	TopK   int     `json:"k" yaml:"k"`
	Beta   float64 `json:"beta" yaml:"beta"`
	Every  int     `json:"every" yaml:"every"`   // guided where |y_<t| mod Every = 0; 1 for everywhere
	Greedy bool    `json:"greedy" yaml:"greedy"` // takes the token of most weight instead of drawing one
	Ahead  bool    `json:"ahead" yaml:"ahead"`   // values tokens before they are fed: no token is decoded for nothing
	Rest   Rest    `json:"rest" yaml:"rest"`
	// LeastP leaves the tokens of lower pi_base out of the top k, but for the likeliest: where
	// the base policy is sure there is little to choose, and decoding k candidates is waste.
	LeastP float64 `json:"least_p,omitempty" yaml:"least_p,omitempty"`
}

// Rest is the value that tokens outside the top k are given.
type Rest string

const (
	RestParent Rest = "parent" // V(s), as in IVO (arXiv 2503.02368, Eq. 5)
	RestMean   Rest = "mean"   // the mean of the k values, as in VAS (arXiv 2405.06639), whose tilt is by the advantage V_k - mean
	RestNone   Rest = "none"   // no weight at all, as in FUDGE (arXiv 2104.05218) and ARGS (arXiv 2402.01694)
)

// Rests lists them.
var Rests = []Rest{RestParent, RestMean, RestNone}

func (g Guide) check() *fault.Error {
	switch {
	case g.TopK < 1:
		return fault.New("decode", "candidates", nil, "set {candidates} to 1 or more", "%d candidates a token", g.TopK)
	case !(g.Beta >= 0) || math.IsInf(g.Beta, 1):
		return fault.New("decode", "beta", nil, "set {beta} to 0 or more: 0 is the base policy, larger ones follow the value function further", "beta %v", g.Beta)
	case g.Every < 1:
		return fault.New("decode", "block", nil, "set {block} to 1 or more", "guidance at every %d tokens", g.Every)
	case !(g.LeastP >= 0 && g.LeastP < 1):
		return fault.New("decode", "least_p", nil, "set {least_p} to 0 for any, or to a number below 1", "candidates of probability %v or more", g.LeastP)
	case g.Rest != RestParent && g.Rest != RestMean && g.Rest != RestNone:
		return fault.New("decode", "rest", Rests, fmt.Sprintf("set {rest} to one of %v", Rests), "unknown value %q of the other tokens", g.Rest)
	}
	return nil
}

// Tokenwise is value-guided sampling token by token (IVO, arXiv 2503.02368, Eq. 5): the k
// likeliest tokens are decoded, each in a fork of its own, and valued; the next token is drawn
// from the tilted policy. With Every = b it is blockwise guided sampling (Eq. 14), with Greedy
// the greedy decoding of ARGS, with Ahead the one-pass method of a head that values tokens which
// are not decoded, one by one. (Of a head that knows what every token adds, one-pass is sampling from a
// proposal: see [Strategy].)
//
// Emit gets every token's text at once.
func Tokenwise(e *engine.Engine, req Request, g Guide, done func(Response)) (engine.Job, error) {
	s := Strategy{Method: MethodTokenwise, Guide: g}
	if err := s.check(e, req, true); err != nil {
		return engine.Job{}, err
	}
	return s.job(req, func(d *decoder) error {
		r, err := d.guide(g)
		if err == nil {
			done(r)
		}
		return err
	}), nil
}

func (d *decoder) guide(g Guide) (Response, error) {
	c, err := d.start()
	if err != nil {
		return Response{}, err
	}
	d.tokenwise = true
	rng, others := policy.Stream(d.req.Key, 0), policy.Stream(d.req.Key, 1)
	t := tilt{Guide: g}
	for growing(c) {
		if err = d.look(c); err != nil {
			return Response{}, err
		}
		if c.Length%g.Every != 0 || !d.guided(c) {
			d.take(c, d.draw(c, rng))
			err = d.advance([]*candidate{c})
		} else if g.Ahead {
			err = d.guideAhead(c, &t, rng, others)
		} else {
			c, err = d.guideToken(c, &t, rng, others)
		}
		if err != nil {
			return Response{}, err
		}
		d.emit(c)
	}
	if err := d.value([]*candidate{c}); err != nil {
		return Response{}, err
	}
	return d.response(c, d.s.Decoded()), nil
}

// guideToken feeds the k likeliest tokens, each to a fork, and goes on with the one that is
// drawn.
func (d *decoder) guideToken(c *candidate, t *tilt, rng, others *rand.Rand) (*candidate, error) {
	parent, err := d.parentValue(c, t)
	if err != nil {
		return nil, err
	}
	t.begin(d, others)
	children := make([]*candidate, len(t.ids))
	for i, token := range t.ids {
		if children[i], err = d.fork(c); err != nil {
			return nil, err
		}
		d.take(children[i], token)
	}
	if t.other >= 0 { // now, for the row will be gone
		d.take(c, t.other)
	}
	if err := d.advance(children); err != nil {
		return nil, err
	}
	if err := d.value(children); err != nil {
		return nil, err
	}
	for i, f := range children {
		t.values[i] = f.value
	}
	i := t.draw(parent, rng)
	for k, f := range children {
		if k != i {
			d.drop(f)
		}
	}
	if i == len(children) {
		t.note(c.last, i)
		return c, d.advance([]*candidate{c})
	}
	d.drop(c)
	t.note(children[i].last, i)
	return children[i], nil
}

// guideAhead values the k likeliest tokens from the state before them and feeds the one that
// is drawn.
func (d *decoder) guideAhead(c *candidate, t *tilt, rng, others *rand.Rand) error {
	parent, err := d.parentValue(c, t)
	if err != nil {
		return err
	}
	t.begin(d, others)
	if err := d.ask(func() error { return d.values.(value.Scorer).Score(d.s.Context(), &c.Candidate, t.ids, t.values) }); err != nil {
		return err
	}
	for _, v := range t.values {
		if err := checkValue(v, c.Length+1); err != nil {
			return err
		}
	}
	i := t.draw(parent, rng)
	token, value := t.other, nan
	if i < len(t.ids) {
		token, value = t.ids[i], t.values[i]
	}
	n := d.take(c, token)
	t.note(n, i)
	n.value, c.value = value, value
	return d.advance([]*candidate{c})
}

// parentValue is V(s) of the candidate's state where the tilt wants it, NaN before the first
// token: heads are trained on the states after one.
func (d *decoder) parentValue(c *candidate, t *tilt) (float32, error) {
	if t.Rest != RestParent || c.Length == 0 {
		return nan, nil
	}
	err := d.value([]*candidate{c})
	return c.last.value, err
}

// tilt is the guided policy at one state.
type tilt struct {
	Guide
	ids    []int32   // the k likeliest tokens
	p      []float64 // pi_base of them
	values []float32 // V of them
	rest   float64   // pi_base of all others
	other  int32     // one of these, drawn by pi_base; -1 where they have no weight
	q      []float64 // of the guided policy, the last being that of all others
	kl     float64   // KL(guided || base)
}

func (t *tilt) begin(d *decoder, others *rand.Rand) {
	t.ids, t.p, t.rest = d.sampler.Likeliest(t.TopK)
	for n := len(t.p) - 1; n > 0 && t.p[n] < t.LeastP; n-- {
		t.rest += t.p[n]
		t.ids, t.p = t.ids[:n], t.p[:n]
	}
	t.values = slices.Grow(t.values[:0], len(t.ids))[:len(t.ids)]
	t.other = -1
	u := others.Float64() // whether it is needed or not: rounding must not shift the stream
	if t.rest > 0 && t.Rest != RestNone && !t.Greedy {
		t.other = d.sampler.DrawRest(len(t.ids), t.rest, u)
	}
}

// draw computes the guided policy and takes a token from it: its number, which is len(ids)
// for the other one. parent is V(s), NaN where it is not known: its place is taken by what the
// children say it is, sum p V / sum p.
func (t *tilt) draw(parent float32, rng *rand.Rand) int {
	var sum, mass, mean float64
	for i, v := range t.values {
		sum, mass, mean = sum+t.p[i]*float64(v), mass+t.p[i], mean+float64(v)/float64(len(t.values))
	}
	v := float64(parent)
	if t.Rest == RestMean {
		v = mean
	} else if math.IsNaN(v) {
		v = sum / mass
	}
	t.q = t.q[:0]
	for i, p := range t.p {
		t.q = append(t.q, math.Log(p)+t.Beta*float64(t.values[i]))
	}
	if t.other >= 0 {
		t.q = append(t.q, math.Log(t.rest)+t.Beta*v)
	}
	norm, best := policy.LogSumExp(t.q, 1), 0
	for i, l := range t.q {
		if l > t.q[best] {
			best = i
		}
	}
	t.kl = 0
	for i, l := range t.q {
		p := t.rest
		if i < len(t.p) {
			p = t.p[i]
		}
		t.q[i] = math.Exp(l - norm)
		if t.q[i] > 0 {
			t.kl += t.q[i] * (l - norm - math.Log(p))
		}
	}
	t.kl = max(0, t.kl) // rounding may leave a little less
	if t.Greedy {
		t.kl = -math.Log(t.p[best])
		clear(t.q)
		t.q[best] = 1
		return best
	}
	u := rng.Float64()
	for i, q := range t.q {
		if u -= q; u < 0 {
			return i
		}
	}
	return best
}

// note writes down the probability of token i, which became n.
func (t *tilt) note(n *node, i int) {
	n.kl = t.kl
	n.guided = float32(math.Log(t.q[i]))
	if i == len(t.ids) {
		n.guided += n.base - float32(math.Log(t.rest))
	}
}
