package head_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// BenchmarkScore scores answers of about 128 tokens to prompts of their own with the real model as trunk, and
// BenchmarkPrefill reads as many tokens in full batches and does nothing else: its lower bound.
func BenchmarkScore(b *testing.B) {
	m, tokens, all := benchmark(b)
	width := m.Info().Width
	s, err := head.NewScorer(&head.Head{Trunk: head.Trunk{Width: width}, Layers: []head.Layer{{In: width, Out: 1, Weight: make([]float32, width)}}}, m)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	for b.Loop() {
		scores, err := s.Score(context.Background(), all)
		if err != nil || scores[0].Err != nil {
			b.Fatal(scores, err)
		}
	}
	report(b, tokens)
}

func BenchmarkPrefill(b *testing.B) {
	m, tokens, _ := benchmark(b)
	const batch = 512
	c, err := m.NewContext(llama.ContextParams{Ctx: 1024, Batch: batch, Sequences: 4, Threads: engine.Threads(m)})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	for b.Loop() {
		for done := 0; done < tokens; {
			if err := c.Clear(); err != nil {
				b.Fatal(err)
			}
			for i := 0; i < batch && done < tokens; i++ {
				if _, err := c.Add(int32(100+i), int32(i/4), int32(i%4), false, 0); err != nil {
					b.Fatal(err)
				}
				done++
			}
			if err := c.Decode(); err != nil {
				b.Fatal(err)
			}
		}
	}
	report(b, tokens)
}

func report(b *testing.B, tokens int) {
	b.ReportMetric(float64(tokens)*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

// benchmark are the model, 4 answers, and the number of tokens that they and their prompts have.
func benchmark(b *testing.B) (m *llama.Model, tokens int, all []head.Answer) {
	m, err := llama.Load(testmodel.SmolLM2(b), llama.ModelParams{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { m.Close() })
	encoder, err := prompt.NewEncoder(m, prompt.Options{Chat: true})
	if err != nil {
		b.Fatal(err)
	}
	for i := range 4 {
		a := head.Answer{Prompt: prompt.Record{ID: fmt.Sprint(i), Text: fmt.Sprint("What is ", i, " plus one?")}, Response: strings.Repeat(fmt.Sprint(i, " and one "), 32)}
		n, err := encoder.Conversation([]llama.Message{{Role: "user", Content: a.Prompt.Text}, {Role: "assistant", Content: a.Response}}, false)
		if err != nil {
			b.Fatal(err)
		}
		tokens += len(n)
		all = append(all, a)
	}
	return m, tokens, all
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
			return s.Follow(context.Background(), all)
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
