//go:build unix

package head_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// BenchmarkScore scores answers of about 128 tokens to prompts of their own with the real model as trunk, in
// turns with a bare loop that reads the same conversations, as many as fit into a batch of 512 tokens, and
// asks for nothing: by how much of the processors' time the score costs more, as a share.
func BenchmarkScore(b *testing.B) {
	m, conversations, all := benchmark(b)
	width := m.Info().Width
	s, err := head.NewScorer(&head.Head{Trunk: head.Trunk{Width: width}, Layers: []head.Layer{{In: width, Out: 1, Weight: make([]float32, width)}}}, m)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	score := func() {
		scores, err := s.Score(context.Background(), all)
		if err != nil || scores[0].Err != nil {
			b.Fatal(scores, err)
		}
	}
	const batch = 512
	c, err := m.NewContext(llama.ContextParams{Ctx: 1024, Batch: batch, Sequences: len(all), Threads: engine.Threads(m)})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	prefill := func() {
		decode := func() {
			if err := errors.Join(c.Decode(), c.Clear()); err != nil {
				b.Fatal(err)
			}
		}
		for k, tokens := range conversations {
			if c.Pending()+len(tokens) > batch {
				decode()
			}
			for i, token := range tokens {
				if _, err := c.Add(token, int32(i), int32(k), false, 0); err != nil {
					b.Fatal(err)
				}
			}
		}
		decode()
	}
	var more []float64
	time := func(run func()) float64 {
		at := processors(b)
		run()
		return processors(b) - at
	}
	for b.Loop() {
		bare := time(prefill)
		more = append(more, time(score)/bare-1)
	}
	slices.Sort(more)
	b.ReportMetric(more[len(more)/2], "more")
}

// processors is the time that the processors have spent on this process, in seconds.
func processors(b *testing.B) float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return float64(used.Utime.Nano()+used.Stime.Nano()) / 1e9
}

// benchmark are the model, and 6 answers with their prompts, in tokens too.
func benchmark(b *testing.B) (m *llama.Model, conversations [][]int32, all []head.Answer) {
	m, err := llama.Load(testmodel.SmolLM2(b), llama.ModelParams{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	encoder, err := prompt.NewEncoder(m, prompt.Options{Chat: true})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 6 {
		a := head.Answer{Prompt: prompt.Record{ID: fmt.Sprint(i), Text: fmt.Sprint("What is ", i, " plus one?")}, Response: strings.Repeat(fmt.Sprint(i, " and one "), 32)}
		tokens, err := encoder.Conversation([]llama.Message{{Role: "user", Content: a.Prompt.Text}, {Role: "assistant", Content: a.Response}}, false)
		if err != nil {
			b.Fatal(err)
		}
		conversations, all = append(conversations, tokens), append(all, a)
	}
	return m, conversations, all
}

// BenchmarkSearch scores the ten candidates of each of 16 steps of a search after a prompt of about 100
// tokens, as Follow does and as Score does.
func BenchmarkSearch(b *testing.B) {
	m, _, _ := benchmark(b)
	width := m.Info().Width
	h := &head.Head{Trunk: head.Trunk{Width: width}, Layers: []head.Layer{{In: width, Out: 1, Weight: make([]float32, width)}}}
	words := strings.Fields("sea wave ship sand wind moon tide rock gull foam")
	for name, score := range map[string]func(*head.Scorer, []head.Answer) ([]head.Score, error){
		"follow": func(s *head.Scorer, all []head.Answer) ([]head.Score, error) {
			return s.Follow(context.Background(), b.Name(), all)
		},
		"score": func(s *head.Scorer, all []head.Answer) ([]head.Score, error) {
			return s.Score(context.Background(), all)
		},
	} {
		b.Run(name, func(b *testing.B) {
			s, err := head.NewScorer(h, m)
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			run := 0
			for b.Loop() {
				record := prompt.Record{Text: fmt.Sprint("Tale ", run, ": ", strings.Repeat("tell me of the sea and of the ships. ", 10))}
				run++ // another prompt, which is not known
				text := ""
				for step := range 16 {
					var all []head.Answer
					for _, w := range words {
						all = append(all, head.Answer{Prompt: record, Response: text + " " + w})
					}
					scores, err := score(s, all)
					if err != nil || scores[0].Err != nil {
						b.Fatal(scores, err)
					}
					text = all[step%len(all)].Response
				}
			}
		})
	}
}
