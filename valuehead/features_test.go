package valuehead

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

var testSchema = states.Schema{Backbone: "model-a", Layers: []int{2, 4}, Width: 6, Scalars: []string{"logp", "entropy"}}

func mustFeatures(t testing.TB, s states.Schema, o FeatureOptions) *Features {
	t.Helper()
	f, err := NewFeatures(s, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// randomTrajectory fills every feature with normal numbers.
func randomTrajectory(rng *rand.Rand, s states.Schema, n int) *states.Trajectory {
	t := &states.Trajectory{Tokens: make([]int32, n), Hidden: make([]float32, n*s.Width), Scalars: make([]float32, n*len(s.Scalars))}
	for _, x := range [][]float32{t.Hidden, t.Scalars} {
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
	}
	return t
}

// row computes the row of state t from the definitions of the blocks.
func row(f *Features, tr *states.Trajectory, t int) (out []float64) {
	s, o := f.schema, f.options
	layer := s.Width / len(s.Layers)
	hidden := func(t int) (h []float64) {
		for _, l := range o.Layers {
			at := slices.Index(s.Layers, l) * layer
			for j := at; j < at+layer; j++ {
				if t < 0 {
					h = append(h, 0)
				} else {
					h = append(h, float64(tr.Hidden[t*s.Width+j]))
				}
			}
		}
		return h
	}
	history := func(reduce func(x []float64) float64) {
		for _, name := range o.Scalars {
			var x []float64
			for k := range t + 1 {
				x = append(x, float64(tr.Scalars[k*len(s.Scalars)+slices.Index(s.Scalars, name)]))
			}
			out = append(out, reduce(x))
		}
	}
	total := func(x []float64) (sum float64) {
		for _, v := range x {
			sum += v
		}
		return sum
	}
	for _, b := range blockOrder {
		if !slices.Contains(o.Blocks, b) {
			continue
		}
		switch b {
		case Hidden:
			out = append(out, hidden(t)...)
		case Previous:
			out = append(out, hidden(t-1)...)
		case HiddenMean:
			mean := make([]float64, f.hidden)
			for k := range t + 1 {
				for j, v := range hidden(k) {
					mean[j] += v / float64(t+1)
				}
			}
			out = append(out, mean...)
		case HiddenMin, HiddenMax:
			for j := range f.hidden {
				var x []float64
				for k := range t + 1 {
					x = append(x, hidden(k)[j])
				}
				if b == HiddenMin {
					out = append(out, slices.Min(x))
				} else {
					out = append(out, slices.Max(x))
				}
			}
		case HiddenSum, HiddenDecay:
			lives := halfLives
			if b == HiddenSum {
				lives = []float64{math.Inf(1)}
			}
			for _, life := range lives {
				sum := make([]float64, f.hidden)
				for k := range t + 1 {
					for j, v := range hidden(k) {
						if f.centre != nil {
							v -= float64(f.centre[j])
						}
						sum[j] += v * math.Pow(0.5, float64(t-k)/life)
					}
				}
				out = append(out, sum...)
			}
		case Scalar:
			history(func(x []float64) float64 { return x[len(x)-1] })
		case ScalarSum:
			history(total)
		case ScalarMean:
			history(func(x []float64) float64 { return total(x) / float64(len(x)) })
		case ScalarMin:
			history(slices.Min)
		case ScalarMax:
			history(slices.Max)
		case Length:
			out = append(out, float64(t+1), math.Log(float64(t+2)))
		}
	}
	return out
}

// trainingRows are the rows that training makes of a trajectory.
func trainingRows(t *testing.T, f *Features, tr *states.Trajectory) []float32 {
	t.Helper()
	h := &Head{features: f}
	rows, err := h.rows(nil, f.NewAccumulator(), Example{Trajectory: tr})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestRows(t *testing.T) {
	for name, o := range map[string]FeatureOptions{
		"default":    {},
		"everything": {Blocks: blockOrder},
		"one layer":  {Layers: []int{4}, Scalars: []string{"entropy"}, Blocks: []Block{Previous, HiddenMean, ScalarSum}},
		"no hidden":  {Layers: []int{}, Blocks: []Block{ScalarMin, Hidden, Length}},
		"sums":       {Layers: []int{4}, Blocks: []Block{HiddenSum, HiddenDecay, Length}},
		"no scalars": {Scalars: []string{}, Blocks: []Block{Hidden, ScalarMax}},
	} {
		t.Run(name, func(t *testing.T) {
			f := mustFeatures(t, testSchema, o)
			if name == "sums" {
				f = f.withCentre([]float32{0.5, -2, 1})
			}
			tr := randomTrajectory(rand.New(rand.NewPCG(1, 2)), testSchema, 9)
			rows := trainingRows(t, f, tr)
			for k := range tr.Tokens {
				got, want := rows[k*f.Width():(k+1)*f.Width()], row(f, tr, k)
				if len(want) != len(got) {
					t.Fatalf("%d columns, want %d", len(got), len(want))
				}
				for j := range want {
					if math.Abs(float64(got[j])-want[j]) > 1e-5 {
						t.Fatalf("state %d, column %d: %g, want %g", k, j, got[j], want[j])
					}
				}
			}
		})
	}
}

// A beam that forks at every token and goes on as the copy sees what training sees.
func TestDecodingSeesWhatTrainingSees(t *testing.T) {
	f := mustFeatures(t, testSchema, FeatureOptions{Blocks: blockOrder})
	rng := rand.New(rand.NewPCG(3, 4))
	tr, other := randomTrajectory(rng, testSchema, 12), randomTrajectory(rng, testSchema, 12)
	trained := trainingRows(t, f, tr)
	beam, spare := f.NewAccumulator(), f.NewAccumulator()
	var rows []float32
	push := func(a *Accumulator, tr *states.Trajectory, k int) {
		if err := a.Push(tr.Hidden[k*6:(k+1)*6], tr.Scalars[k*2:(k+1)*2]); err != nil {
			t.Fatal(err)
		}
	}
	for k := range tr.Tokens {
		fork := beam.Clone()
		push(fork, other, k) // another beam's token must leave no trace
		push(beam, tr, k)
		rows = beam.AppendRow(rows)
		spare.CopyFrom(beam)
		push(beam, other, k)
		beam, spare = spare, beam
	}
	if !slices.Equal(rows, trained) {
		t.Error("decoding and training made different rows of the same tokens")
	}
	beam.Reset()
	push(beam, tr, 0)
	if first := beam.AppendRow(nil); !slices.Equal(first, trained[:f.Width()]) {
		t.Error("a response after Reset differs from a first one")
	}
}

func TestCopyFromOtherFeatures(t *testing.T) {
	a := mustFeatures(t, testSchema, FeatureOptions{Layers: []int{2}}).NewAccumulator()
	b := mustFeatures(t, testSchema, FeatureOptions{}).NewAccumulator()
	if err := b.Push(make([]float32, 6), []float32{-1, 2}); err != nil {
		t.Fatal(err)
	}
	a.CopyFrom(b)
	if !slices.Equal(a.AppendRow(nil), b.AppendRow(nil)) {
		t.Error("the copy differs")
	}
}

func TestFeaturesRefuse(t *testing.T) {
	for want, o := range map[string]FeatureOptions{
		"layer 3":       {Layers: []int{3}},
		"layer 2":       {Layers: []int{2, 2}},
		`scalar "rank"`: {Scalars: []string{"rank"}},
		`block "all"`:   {Blocks: []Block{"all"}},
		"no column":     {Blocks: []Block{}},
	} {
		if _, err := NewFeatures(testSchema, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %s", err, want)
		}
	}
	a := mustFeatures(t, testSchema, FeatureOptions{}).NewAccumulator()
	if err := a.Push(make([]float32, 5), make([]float32, 2)); err == nil {
		t.Error("a short hidden row was taken")
	}
}

func TestDatasetRefuses(t *testing.T) {
	nan := float32(math.NaN())
	for want, spoil := range map[string]func(*Example){
		"score":   func(e *Example) { e.Return = nan },
		"schema":  func(e *Example) { e.Trajectory.Hidden = e.Trajectory.Hidden[1:] },
		"token 2": func(e *Example) { e.Trajectory.Scalars[5] = nan },
	} {
		e := Example{Trajectory: randomTrajectory(rand.New(rand.NewPCG(1, 1)), testSchema, 4)}
		spoil(&e)
		d := NewDataset(mustFeatures(t, testSchema, FeatureOptions{}))
		if err := d.AddExample(e); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %q", err, want)
		}
		if d.Len() != 0 {
			t.Error("a refused trajectory was kept")
		}
	}
}
