package batch_test

import (
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

// The beta that is chosen gives the KL that is asked for, wherever the search begins: in units of
// a taste that nobody has measured.
func TestTargetKL(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var tasks []batch.Task
	for i := range 12 {
		r := prompt.Record{ID: fmt.Sprint(i), Text: fmt.Sprintf("i found %d red kettles.\nTL;DR:", i)}
		tokens, err := m.Tokenize(r.Text, true, false)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, batch.Task{Encoded: prompt.Encoded{Record: r, Tokens: tokens}})
	}
	for _, scale := range []float64{0.1, 10} {
		taste := value.Prefix(func(_ context.Context, texts []string) ([]float64, error) {
			out := make([]float64, len(texts))
			for i, text := range texts {
				out[i] = scale * float64(crc32.ChecksumIEEE([]byte(text))) / math.MaxUint32
			}
			return out, nil
		})
		run := batch.Many{Shard: 64, Context: batch.Context{Threads: 1}, Policy: batch.Policy{
			Strategy: decode.Strategy{Method: decode.MethodTokenwise, Guide: decode.Guide{TopK: 4, Beta: 1, Rest: decode.RestParent}},
			Value:    taste, Sampling: policy.Sampling{Temp: 1}, MaxTokens: 12,
		}}
		tries := 0
		beta, kl, err := run.TargetKL(t.Context(), m, tasks, 1.5, func(int, float64, float64) { tries++ })
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(kl-1.5) > 0.15 || run.Policy.Strategy.Guide.Beta != beta || tries < 2 || tries > batch.TargetTries {
			t.Errorf("a taste of scale %g: beta %.3g gives a KL of %.3g after %d tries, want 1.5", scale, beta, kl, tries)
		}
	}
	run := batch.Many{Policy: batch.Policy{Strategy: decode.Strategy{Method: decode.MethodBlockBeam}}}
	if _, _, err := run.TargetKL(t.Context(), m, tasks, 1.5, nil); err == nil {
		t.Error("a strategy without a beta has one chosen")
	}
}
