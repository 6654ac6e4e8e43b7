package valuehead

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// table is embeddings in memory.
type table struct {
	width int
	rows  []float32
}

func (t table) Len() int   { return len(t.rows) / t.width }
func (t table) Width() int { return t.width }
func (t table) Rows(from int, dst []float32) error {
	if copy(dst, t.rows[from*t.width:]) != len(dst) {
		return fmt.Errorf("no such rows")
	}
	return nil
}

func randomTable(n, width int) table {
	t := table{width, make([]float32, n*width)}
	normal(t.rows, rand.New(rand.NewPCG(6, 6)), 1)
	unitRows(t.rows, width)
	return t
}

// additiveWorld makes 4 responses to each of n prompts, of 5 to 10 tokens out of 30, whose
// return is 1 + sum (w . e(y)) less its mean over the vocabulary, plus noise; byPrompt turns the
// sign for half of the prompts, which the first float of their states tells.
func additiveWorld(t testing.TB, n int, e table, byPrompt bool, noise float64) (*Dataset, func(p *states.Prompt, y int32) float64) {
	return repeatingWorld(t, n, e, byPrompt, false, noise)
}

// repeatingWorld is the same, but once says that a token adds nothing when it is said again.
func repeatingWorld(t testing.TB, n int, e table, byPrompt, once bool, noise float64) (*Dataset, func(p *states.Prompt, y int32) float64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(7, 7))
	w, mean := make([]float64, e.width), 0.0
	for j := range w {
		w[j] = 2 * rng.NormFloat64()
	}
	value := func(y int32) (v float64) {
		for j, x := range e.rows[int(y)*e.width:][:e.width] {
			v += w[j] * float64(x)
		}
		return v - mean
	}
	total := 0.0
	for y := range e.Len() {
		total += value(int32(y))
	}
	mean = total / float64(e.Len())
	truth := func(p *states.Prompt, y int32) float64 {
		if byPrompt {
			return value(y) * float64(p.Hidden[0])
		}
		return value(y)
	}
	d := NewDataset(mustFeatures(t, promptSchema, FeatureOptions{}))
	for i := range n {
		p := &states.Prompt{ID: fmt.Sprint("prompt ", i), Tokens: []int32{1, 2}, Hidden: make([]float32, 6)}
		normal(p.Hidden, rng, 1)
		p.Hidden[0] = float32(1 - 2*(i%2))
		p.Hidden[3] = p.Hidden[0]
		for k := range 4 {
			tr := randomTrajectory(rng, promptSchema, 5+rng.IntN(6))
			tr.Prompt, tr.Sample = p.ID, k
			ret := 1 + noise*rng.NormFloat64()
			for j := range tr.Tokens {
				tr.Tokens[j] = int32(rng.IntN(e.Len()))
				if !once || !slices.Contains(tr.Tokens[:j], tr.Tokens[j]) {
					ret += truth(p, tr.Tokens[j])
				}
			}
			if err := d.AddExample(Example{Trajectory: tr, Return: float32(ret), Prompt: p}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return d, truth
}

// The dual by conjugate gradients is the primal: the normal equations of the features written
// out, solved by elimination in float64.
func TestAdditiveIsRidge(t *testing.T) {
	e := randomTable(30, 4)
	d, _ := additiveWorld(t, 25, e, true, 1)
	a, err := collectAdditive(t.Context(), d, entries(t, d), e, 1)
	if err != nil {
		t.Fatal(err)
	}
	if a.dirs != 3 {
		t.Fatalf("%d directions of prompts with 3 floats", a.dirs)
	}
	b := a.different(1)
	if i := slices.IndexFunc(b.texts, func(text []int32) bool { return slices.Contains(text, again) }); i < 0 {
		t.Fatal("no response says a token again")
	}
	fits := []AdditiveFit{{Lambda: 0.3}, {Lambda: 1, Prompt: 0.5}, {Rank: 2, Product: 0.7, Lambda: 0.1, Prompt: 2}, {Rank: 3, Product: 3, Lambda: 3, Words: 0.5}, {Lambda: 0.3, Squashed: true}, {Rank: 2, Product: 0.7, Lambda: 0.1, Prompt: 2, Words: 2, Squashed: true}}
	for i, fit := range append(fits, fits...) {
		if i == len(fits) {
			a = b
		}
		squash := a.squashOf(fit)
		for _, without := range []int{-1, 2} {
			s := a.solve(fit, without, 1e-7)
			var phi [][]float64 // the features, written out
			var y []float64
			mean, n := 0.0, 0.0
			for i := range a.n {
				var row []float64
				for k := range fit.Rank + 1 {
					f := 1.0
					if k > 0 {
						f = math.Sqrt(fit.Product/float64(fit.Rank)) * float64(a.z[i*3+k-1])
					}
					for _, v := range a.sums[i*4 : i*4+4] {
						row = append(row, f*float64(v))
					}
				}
				for _, z := range a.z[i*3 : i*3+3] {
					if fit.Prompt > 0 {
						row = append(row, math.Sqrt(fit.Prompt/3)*float64(z))
					}
				}
				if fit.Words > 0 { // a column for each token, less its share of all that is said
					for token, share := range a.share {
						v := 0.0
						for _, said := range a.texts[i] {
							if said != again {
								v -= share
							}
							if int(said) == token {
								v++
							}
						}
						row = append(row, math.Sqrt(fit.Words/a.apart)*v)
					}
				}
				phi = append(phi, row)
				y = append(y, squash.stretch(a.returns[i]))
				if a.fold[i] != without {
					mean += y[i]
					n++
				}
			}
			mean /= n
			p := len(phi[0])
			normalMatrix, right := make([]float64, p*p), make([]float64, p)
			for i, row := range phi {
				if a.fold[i] == without {
					continue
				}
				for j, v := range row {
					right[j] += v * (y[i] - mean)
					for k, u := range row {
						normalMatrix[j*p+k] += v * u
					}
				}
			}
			for j := range p {
				normalMatrix[j*p+j] += fit.Lambda
			}
			weights := eliminate(normalMatrix, right)
			ends := make([]float64, a.n)
			a.predict(s, ends)
			for i, row := range phi {
				want := 0.0
				for j, v := range row {
					want += v * weights[j]
				}
				if math.Abs(ends[i]-want) > 1e-4 {
					t.Fatalf("%+v without %d: response %d has the value %v, want %v", fit, without, i, ends[i], want)
				}
				last := squash.of(float32(want + mean))
				if v := a.values(s, i); math.Abs(float64(v[len(v)-1]-last)) > 1e-4 {
					t.Fatalf("%+v: the last state of response %d has the value %v, want %v", fit, i, v[len(v)-1], last)
				}
			}
		}
	}
}

// eliminate solves a x = b by Gauss's elimination with pivots. Both are overwritten.
func eliminate(a, b []float64) []float64 {
	n := len(b)
	for i := range n {
		best := i
		for r := i; r < n; r++ {
			if math.Abs(a[r*n+i]) > math.Abs(a[best*n+i]) {
				best = r
			}
		}
		for c := range n {
			a[i*n+c], a[best*n+c] = a[best*n+c], a[i*n+c]
		}
		b[i], b[best] = b[best], b[i]
		for r := i + 1; r < n; r++ {
			f := a[r*n+i] / a[i*n+i]
			for c := i; c < n; c++ {
				a[r*n+c] -= f * a[i*n+c]
			}
			b[r] -= f * b[i]
		}
	}
	for i := n - 1; i >= 0; i-- {
		for c := i + 1; c < n; c++ {
			b[i] -= a[i*n+c] * b[c]
		}
		b[i] /= a[i*n+i]
	}
	return b
}

// An additive head finds what every token is worth, whether that depends on the prompt or not,
// and its table says it before the token is fed.
func TestAdditiveLearns(t *testing.T) {
	e := randomTable(30, 4)
	for name, is := range map[string]struct{ byPrompt, once bool }{"static": {false, false}, "bilinear": {true, false}, "once": {false, true}, "bilinear, once": {true, true}} {
		byPrompt := is.byPrompt
		t.Run(name, func(t *testing.T) {
			d, truth := repeatingWorld(t, 150, e, byPrompt, is.once, 0.5)
			h, r := mustTrain(t, d, TrainOptions{Kind: Additive, Embeddings: e, HeldOut: 0.2})
			a := h.Advantages()
			if a.NeedsPrompt() != byPrompt || a.Once() != is.once || r.Additive.Kept.Once != is.once || r.Additive.Other.Once == is.once || h.Kind() != Additive || !h.CanScoreCandidates() {
				t.Errorf("a table of rank %d, once: %v, kept %+v instead of %+v", a.Rank(), a.Once(), r.Additive.Kept, r.Additive.Other)
			}
			if r.HeldOut.Last.R2 < 0.95 || r.Additive.Kept.R2Last < 0.95 || h.Summary().R2Last != r.HeldOut.Last.R2 {
				t.Errorf("R2 %+v, by cross-validation %+v", r.HeldOut.Last, r.Additive.Kept)
			}
			if static := r.Additive.Static.R2Last; byPrompt && static > 0.3 {
				t.Errorf("a table for all prompts explains %v of a reward that depends on them", static)
			}
			for i := range 20 {
				p, of := d.examples[4*i].Prompt, a.Of(d.examples[4*i].Prompt)
				if len(of) != 30 {
					t.Fatalf("%d advantages", len(of))
				}
				for y := range of {
					if want := truth(p, int32(y)); math.Abs(float64(of[y])-want) > 0.6 {
						t.Errorf("token %d after prompt %d is worth %v, want %v", y, i, of[y], want)
					}
				}
			}
		})
	}
}

// Decoding gives the values that training sees, V(x) and a sum of what the table says; the
// units are what the definition gives; a file keeps all of it.
func TestAdditiveHead(t *testing.T) {
	e := randomTable(30, 4)
	for i := range 4 {
		byPrompt, once := i%2 == 1, i > 1
		d, _ := repeatingWorld(t, 60, e, byPrompt, once, 0.5)
		o := TrainOptions{Kind: Additive, Embeddings: e, HeldOut: 0.2, Workers: 1}
		h, report := mustTrain(t, d, o)
		o.Workers = 3
		again, other := mustTrain(t, d, o)
		if !slices.Equal(again.Advantages().table, h.Advantages().table) || again.Unit() != h.Unit() {
			t.Error("another number of workers gives another head")
		}
		if diff := cmp.Diff(report, other); diff != "" {
			t.Errorf("and another report:\n%s", diff)
		}
		loaded := reload(t, h)
		if loaded.Unit() != h.Unit() || loaded.Advantages().Unit() != h.Advantages().Unit() || loaded.Summary() != h.Summary() || loaded.NeedsPrompt() != h.NeedsPrompt() {
			t.Errorf("the file gave %v, %v, %+v", loaded.Unit(), loaded.Advantages().Unit(), loaded.Summary())
		}
		_, held, err := split(entries(t, d), 0.2)
		if err != nil {
			t.Fatal(err)
		}
		squares := 0.0
		for _, entry := range held {
			ex := d.examples[entry.index]
			of := h.Advantages().Of(ex.Prompt)
			m, err := loaded.Begin(ex.Prompt)
			if err != nil {
				t.Fatal(err)
			}
			var v [1]float32
			value := func() float32 {
				if err := loaded.Values([]*Memory{m}, Reading{}, v[:]); err != nil {
					t.Fatal(err)
				}
				return v[0]
			}
			before := value()
			squash := h.Advantages().squash
			if want := squash.of(h.Advantages().start(h.Advantages().directionsOf(ex.Prompt))); before != want {
				t.Errorf("V(x) is %v, want %v", before, want)
			}
			rows, err := h.rows(nil, nil, ex)
			if err != nil {
				t.Fatal(err)
			}
			if loaded.Advantages().Once() != once {
				t.Errorf("once: %v", !once)
			}
			for i, y := range ex.Trajectory.Tokens {
				adds := of[y]
				if once && slices.Contains(ex.Trajectory.Tokens[:i], y) {
					adds = 0
				}
				var ahead [1]float32
				sum := m.value
				if err := loaded.Candidates(m, []int32{y}, make([]float32, 2), Reading{}, ahead[:]); err != nil {
					t.Fatal(err)
				}
				if err := m.Push(y, ex.Trajectory.Hidden[i*6:i*6+6], ex.Trajectory.Scalars[i*2:i*2+2]); err != nil {
					t.Fatal(err)
				}
				after := value()
				trained := h.rewardMean + h.rewardScale*rows[i]
				if math.Abs(float64(m.value-sum-adds)) > 1e-5 || after != squash.of(m.value) || after != ahead[0] || math.Abs(float64(after-trained)) > 1e-5 {
					t.Errorf("after token %d: %v, before it was fed %v, in training %v; before it %v, and it adds %v", i, after, ahead[0], trained, before, adds)
				}
				squares += math.Pow(float64(after-before), 2)
				before = after
			}
			fork := m.Clone()
			m.Reset()
			if value() == before || squash.of(fork.value) != before {
				t.Error("a copy is not independent")
			}
			if m.CopyFrom(fork); value() != before {
				t.Error("a copy has another value")
			}
		}
		want := math.Sqrt(squares / float64(len(held)))
		for _, unit := range []float64{h.Unit(), h.Advantages().Unit()} {
			if math.Abs(unit-want) > 1e-4*want {
				t.Errorf("unit %v, want %v", unit, want)
			}
		}
	}
}

// A table beside a head of another kind is the one that an additive head has, and the head is
// the one that it is without.
func TestAdvantagesBeside(t *testing.T) {
	e := randomTable(30, 4)
	d, _ := additiveWorld(t, 30, e, false, 0.5)
	alone, _ := mustTrain(t, d, TrainOptions{Kind: Additive, Embeddings: e})
	plain, _ := mustTrain(t, d, TrainOptions{Kind: Linear, Epochs: 1, Seed: 4})
	h, r := mustTrain(t, d, TrainOptions{Kind: Linear, Epochs: 1, Seed: 4, Embeddings: e})
	loaded := reload(t, h)
	if a := loaded.Advantages(); !slices.Equal(a.Of(nil), alone.Advantages().Of(nil)) || r.Additive == nil || a.Unit() != alone.Advantages().Unit() {
		t.Error("the table differs from an additive head's")
	}
	if !slices.Equal(loaded.params, plain.params) || loaded.Unit() != plain.Unit() || plain.Advantages() != nil {
		t.Error("the head differs from one without a table")
	}
	if plain.Unit() == 0 || plain.Unit() == float64(plain.rewardScale) {
		t.Errorf("unit %v", plain.Unit())
	}
	old := *plain.twin()
	if old.unit = 0; old.Unit() != float64(plain.rewardScale) {
		t.Errorf("without a unit in its file, a head says %v", old.Unit())
	}
}

func TestAdditiveRefuses(t *testing.T) {
	e := randomTable(30, 4)
	d, _ := additiveWorld(t, 10, e, false, 0.5)
	for name, o := range map[string]TrainOptions{
		"no embeddings":      {Kind: Additive},
		"too few embeddings": {Kind: Additive, Embeddings: randomTable(3, 4)},
		"another target":     {Kind: Additive, Embeddings: e, Target: TDLambda},
		"a distribution":     {Kind: Additive, Embeddings: e, Shape: Shape{Atoms: 11}},
		"an ensemble":        {Kind: Additive, Embeddings: e, Shape: Shape{Members: 3}},
	} {
		if _, _, err := Train(t.Context(), d, o); err == nil {
			t.Errorf("%s: no error", name)
		} else if s := err.Error(); s[len(s)-1] != ')' {
			t.Errorf("%s: %v does not say what to do", name, err)
		}
	}
}

func TestDamagedAdditiveFile(t *testing.T) {
	e := randomTable(6, 2)
	d, _ := additiveWorld(t, 12, e, true, 0.1)
	h, _ := mustTrain(t, d, TrainOptions{Kind: Additive, Embeddings: e})
	damage(t, h, 7)
}

// reload is the head as its file has it.
func reload(t *testing.T, h *Head) *Head {
	t.Helper()
	path := filepath.Join(t.TempDir(), "head.gguf")
	if err := h.Save(path); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}
