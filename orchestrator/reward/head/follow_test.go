package head_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/testcheckpoint"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// Answers of several searches grow in turns, more of them than there is room for, each in some ways
// of which one is taken: followed, each has the score that it has alone.
func TestFollow(t *testing.T) {
	m := load(t, lab)
	width := m.Info().Width
	rng := rand.New(rand.NewPCG(3, 3))
	wide := func(in, out int) []head.Layer {
		return []head.Layer{{In: in, Out: out, Weight: testcheckpoint.Random(rng, "F32", "", out, in).Values}}
	}
	layer := func(out int) []head.Layer { return wide(width, out) }
	for name, h := range map[string]*head.Head{
		"one output":         {Trunk: head.Trunk{Width: width}, Layers: layer(1)},
		"gated":              {Trunk: head.Trunk{Width: width}, Layers: layer(2), Gate: &head.Gate{Layers: layer(2), Temperature: 1, Scale: 1}},
		"sums of two layers": {Trunk: head.Trunk{Width: width}, Layers: wide(2*width+1, 1), Reading: head.Reading{Layers: []int{0, m.Info().Layers}, Pooling: head.Sum, Longest: 8}},
		"sums of embeddings": {Trunk: head.Trunk{Width: width}, Layers: wide(width+1, 1), Reading: head.Reading{Layers: []int{head.Embeddings}, Pooling: head.Sum, Longest: 8}},
		"attention to an inner layer": {Trunk: head.Trunk{Width: width}, Layers: layer(1), Reading: head.Reading{
			Layers: []int{1}, Pooling: head.Attention, Query: testcheckpoint.Random(rng, "F32", "", width).Values,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := head.NewScorer(h, m)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			words := []string{" bought", " a", " red", " bell", " lost", " the", " drum", " and"}
			texts := make([]string, 6)
			for step := range 12 {
				for search := range texts {
					var all []head.Answer
					for _, i := range rng.Perm(len(words))[:1+rng.IntN(len(words))] {
						all = append(all, head.Answer{Prompt: prompt.Record{Text: fmt.Sprint("i lost a bell at work ", search, " times.")}, Response: texts[search] + words[i]})
					}
					got, err := s.Follow(context.Background(), t.Name(), all)
					if err != nil {
						t.Fatal(err)
					}
					want, err := s.Score(context.Background(), all)
					if err != nil {
						t.Fatal(err)
					}
					for i, a := range all {
						// Another order of cells rounds the cache's F16 otherwise; candidates differ by tenths.
						if got[i].Err != nil || want[i].Err != nil || !(math.Abs(got[i].Value-want[i].Value) < 0.02) {
							t.Errorf("step %d, %q: got %v, want %v", step, a.Response, got[i], want[i])
						}
					}
					texts[search] = all[rng.IntN(len(all))].Response
				}
			}
		})
	}
}

// As many answers as a batch has grow in turns, each by one of ten tokens: none is read again from its beginning.
func TestFollowMany(t *testing.T) {
	m := load(t, lab)
	width := m.Info().Width
	s, err := head.NewScorer(&head.Head{Trunk: head.Trunk{Width: width}, Layers: []head.Layer{{In: width, Out: 1, Weight: make([]float32, width)}}}, m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const answers, steps = 40, 8
	words := []string{" bought", " a", " red", " bell", " lost", " the", " drum", " and", " is", " on"}
	texts, first, asked := make([]string, answers), 0, 0
	for step := range steps {
		for i := range texts {
			var all []head.Answer
			for _, w := range words {
				all = append(all, head.Answer{Prompt: prompt.Record{Text: fmt.Sprint(i, strings.Repeat(" bells were lost at work and i told my friend of it.", 6))}, Response: texts[i] + w})
			}
			if _, err := s.Follow(context.Background(), t.Name(), all); err != nil {
				t.Fatal(err)
			}
			asked += len(all)
			texts[i] += words[(i+step)%len(words)]
		}
		if step == 0 {
			first, err = s.Fed()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	fed, err := s.Fed()
	if err != nil {
		t.Fatal(err)
	}
	per := float64(fed-first) / float64(asked-answers*len(words))
	t.Logf("%.1f tokens a text after the first step", per)
	if per > 4 { // its own last words, and now and then some of the answer's
		t.Errorf("%.1f tokens were read of each text, which has one or two that are new", per)
	}
}

// An answer that is too long has no score; the others have theirs.
func TestFollowTooLong(t *testing.T) {
	m := load(t, lab)
	s, err := head.NewScorer(&head.Head{Trunk: head.Trunk{Width: m.Info().Width}, Layers: []head.Layer{{In: m.Info().Width, Out: 1, Weight: make([]float32, m.Info().Width)}}}, m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	long := fmt.Sprint(make([]int, s.Limit()))
	got, err := s.Follow(context.Background(), t.Name(), []head.Answer{{Response: long}, {Response: "bought a bell"}})
	if err != nil || got[0].Err == nil || got[1].Err != nil {
		t.Fatal(got, err)
	}
	if got, err := s.Follow(context.Background(), t.Name(), []head.Answer{{Response: long}}); err != nil || got[0].Err == nil {
		t.Errorf("where all are: %v, %v", got, err)
	}
}

// What was interrupted leaves nothing behind that later answers could be taken for.
func TestFollowGoesOnAfterAnInterruption(t *testing.T) {
	m := load(t, lab)
	h := &head.Head{Trunk: head.Trunk{Width: m.Info().Width}, Layers: []head.Layer{{In: m.Info().Width, Out: 1, Weight: testcheckpoint.Random(rand.New(rand.NewPCG(4, 4)), "F32", "", 1, m.Info().Width).Values}}}
	s, err := head.NewScorer(h, m)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	answer := []head.Answer{{Prompt: prompt.Record{Text: "i lost a bell"}, Response: "lost a bell"}}
	want, err := s.Follow(context.Background(), t.Name(), answer)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Follow(ctx, t.Name(), answer); err == nil {
		t.Fatal("a call whose context had ended went well")
	}
	got, err := s.Follow(context.Background(), t.Name(), answer)
	if err != nil || !(math.Abs(got[0].Value-want[0].Value) < 1e-3) {
		t.Fatal(got, want, err)
	}
}
