package batch_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// A model that is compared with itself at another temperature is as far from it as decoding says.
func TestDivergence(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	drawn, base := policy.Sampling{Temp: 1.3}, policy.Sampling{Temp: 0.7}
	for name, long := range map[string]int{"short": 1, "more than is read at once": 24} {
		t.Run(name, func(t *testing.T) {
			var tasks []batch.Task
			for i := range 3 {
				text := strings.Repeat(fmt.Sprintf("i found %d red kettles. ", i), long) + "\nTL;DR:"
				tokens, err := m.Tokenize(text, true, false)
				if err != nil {
					t.Fatal(err)
				}
				tasks = append(tasks, batch.Task{Encoded: prompt.Encoded{Record: prompt.Record{ID: fmt.Sprint(i), Text: text}, Tokens: tokens}})
			}
			e, err := engine.New(m, engine.Params{Ctx: 2048, Threads: 1, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Flash: llama.FlashOff})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			d, err := batch.NewDivergence(m, m, drawn, base, batch.Context{Threads: 1, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Flash: llama.FlashOff}, 512)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			p := batch.Policy{Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: drawn, Reference: &base, MaxTokens: 12}
			err = p.Decode(t.Context(), e, tasks, func(task, _ int, r decode.Response) error {
				kl, ratio, err := d.Of(t.Context(), tasks[task].Tokens, r.Tokens)
				if err != nil {
					return err
				}
				if math.Abs(kl-r.KL) > 1e-2*r.KL || kl < .1 || math.IsNaN(ratio) || ratio == 0 {
					t.Errorf("prompt %d: KL %.4f, decoding says %.4f; log-ratio %.4f", task, kl, r.KL, ratio)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := batch.SameTokens(m, m); err != nil {
		t.Error(err)
	}
}
