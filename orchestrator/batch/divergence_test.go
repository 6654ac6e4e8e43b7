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
			exact := batch.Context{Threads: 1, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Flash: llama.FlashOff}
			p := batch.Policy{Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: drawn, Reference: &base, MaxTokens: 12}
			err = p.Decode(t.Context(), e, tasks, func(task, _ int, r decode.Response) error {
				said := r
				err := batch.Diverge(t.Context(), batch.Distribution{Model: m, Sampling: drawn}, batch.Distribution{Model: m, Sampling: base}, exact, []batch.Drawn{{Prompt: tasks[task].Tokens, Response: &r}})
				if math.Abs(r.KL-said.KL) > 1e-2*said.KL || r.KL < .1 || math.Abs(r.Ratio-said.Ratio) > 1e-2*math.Abs(said.Ratio)+1e-2 {
					t.Errorf("prompt %d: KL %.4f, decoding says %.4f; log-ratio %.4f and %.4f", task, r.KL, said.KL, r.Ratio, said.Ratio)
				}
				return err
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
