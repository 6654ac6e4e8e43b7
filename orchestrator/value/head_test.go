package value

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// embeddings are random.
type embeddings struct {
	width int
	rows  []float32
}

func (e embeddings) Len() int                           { return len(e.rows) / e.width }
func (e embeddings) Width() int                         { return e.width }
func (e embeddings) Rows(from int, dst []float32) error { copy(dst, e.rows[from*e.width:]); return nil }

// Where a token adds something only once, what a candidate said adds nothing, whoever was asked about
// before, and where values have ends they rise the less the nearer they are to one; the mean of heads
// follows each of them.
func TestAdvantagesAfterWhatWasSaid(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	e := embeddings{4, make([]float32, 30*4)}
	for i := range e.rows {
		e.rows[i] = float32(rng.NormFloat64())
	}
	schema := states.Schema{Backbone: "model", Layers: []int{1}, Width: 2, Scalars: []string{"logp"}}
	features, err := valuehead.NewFeatures(schema, valuehead.FeatureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	learn := func(once, ends bool) *valuehead.Head {
		d := valuehead.NewDataset(features)
		for i := range 400 {
			tr := &states.Trajectory{Prompt: fmt.Sprint(i / 4), Sample: i % 4}
			ret, said := 0.0, map[int32]bool{}
			for range 12 {
				y := int32(rng.IntN(30))
				if !once || !said[y] {
					ret += float64(e.rows[y*4])
				}
				said[y] = true
				tr.Tokens, tr.Hidden, tr.Scalars = append(tr.Tokens, y), append(tr.Hidden, 0, 0), append(tr.Scalars, 0)
			}
			if ends {
				ret = math.Tanh(ret / 3)
			}
			if err := d.AddExample(valuehead.Example{Trajectory: tr, Return: float32(ret)}); err != nil {
				t.Fatal(err)
			}
		}
		h, _, err := valuehead.Train(t.Context(), d, valuehead.TrainOptions{Kind: valuehead.Additive, Embeddings: e, HeldOut: 0.2})
		if err != nil {
			t.Fatal(err)
		}
		if a := h.Advantages(); a.Once() != once || a.Squashed() != ends {
			t.Fatalf("a table of tokens that count once: %v, want %v; of values with ends: %v, want %v", a.Once(), once, a.Squashed(), ends)
		}
		return h
	}
	set, bag := learn(true, true), learn(false, false)
	ofSet, ofBag := set.Advantages().Of(nil), bag.Advantages().Of(nil)
	v, err := Mean(Head(set, valuehead.Reading{}), Head(bag, valuehead.Reading{})).Open(Request{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	say := func(tokens ...int32) *Candidate {
		c := &Candidate{Length: len(tokens)}
		for _, y := range tokens {
			c.Last = &Step{Parent: c.Last, Token: y}
		}
		return c
	}
	for _, said := range [][]int32{{3, 4}, {4, 5, 5}, {}, {29}} {
		c := say(said...)
		if c.Memory, err = v.Begin(); err != nil {
			t.Fatal(err)
		}
		got, slope, err := v.(Tilter).Advantages(c)
		if err != nil {
			t.Fatal(err)
		}
		sum := set.Advantages().Start(nil)
		for i, y := range said {
			if !slices.Contains(said[:i], y) {
				sum += ofSet[y]
			}
		}
		rise := float32(set.Advantages().Slope(sum))
		for y := range got {
			want := rise*ofSet[y]/2 + ofBag[y]/2
			if slices.Contains(said, int32(y)) {
				want = ofBag[y] / 2
			}
			if diff := float32(slope)*got[y] - want; diff > 1e-6 || diff < -1e-6 {
				t.Errorf("after %v token %d adds %v, want %v", said, y, got[y], want)
			}
		}
	}
}
