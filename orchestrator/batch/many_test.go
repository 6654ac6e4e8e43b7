package batch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// As many sequences as were asked for are decoded at once, in a context that holds them, and the answers are
// those of few at once.
func TestManySequences(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var tasks []Task
	for i := range 128 {
		r := prompt.Record{ID: fmt.Sprint(i), Text: fmt.Sprintf("my cousin found %d red kettles at work.\nTL;DR:", i)}
		tokens, err := m.Tokenize(r.Text, true, false)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, Task{Encoded: prompt.Encoded{Record: r, Tokens: tokens}})
	}
	var want []string
	for _, parallel := range []int{8, 64, 128} {
		run := Many{
			Policy:   Policy{Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: policy.Sampling{Temp: 0.7}, MaxTokens: 12},
			Context:  Context{Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32},
			Parallel: parallel, Shard: len(tasks),
		}
		pool, err := run.pool(m, tasks)
		if err != nil {
			t.Fatal(err)
		}
		if p := pool.Params(); p.Sequences != parallel || p.Ctx < parallel*(len(tasks[0].Tokens)+12) {
			t.Errorf("%d sequences and %d cells for %d", p.Sequences, p.Ctx, parallel)
		}
		if err := pool.Close(); err != nil {
			t.Fatal(err)
		}
		var lines bytes.Buffer
		if err := run.Run(t.Context(), m, tasks, PrintAnswers(&lines, tasks, run.Shard), nil); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range bytes.Lines(lines.Bytes()) {
			var r Record
			if err := json.Unmarshal(line, &r); err != nil {
				t.Fatal(err)
			}
			got = append(got, r.ID+": "+r.Text)
		}
		if want == nil {
			want = got
		}
		if d := cmp.Diff(want, got); d != "" || len(got) != len(tasks) {
			t.Errorf("%d sequences (- few, + many):\n%s", parallel, d)
		}
	}
	asked, free := Many{Parallel: 128}, Many{}
	if n := asked.cells(m, 128, 400); n != 128*400 {
		t.Errorf("%d cells for 128 tasks of 400", n)
	}
	if n := asked.cells(m, 1<<20, 1<<20); n >= 1<<40 || n <= KeptCells {
		t.Errorf("%d cells for what no memory holds", n)
	}
	if n := free.cells(m, 128, 400); n != KeptCells {
		t.Errorf("%d cells where nobody asked", n)
	}
}
