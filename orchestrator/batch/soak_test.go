package batch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/value"
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

const streams = 64

// kind is a way to answer, and prompted what is asked that way.
type kind struct {
	name   string
	policy batch.Policy
}

type prompted struct {
	kind
	task batch.Task
	want decode.Response // alone, from an empty context
}

// Sixty-four clients at a time ask by all methods, some about what others have asked before, and a third of
// their answers are cut off at random. What they read, to the end or to where it was cut, is what the engine
// says when it is asked that alone.
//
// IVO_SOAK=10m lets it go on for as long, and looks at memory and descriptors too.
func TestSoak(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	layers := []int{1, 3}
	params := engine.Params{
		Ctx: 8192, Sequences: 160, Threads: 1, Flash: llama.FlashOff, CacheK: llama.CacheF32, CacheV: llama.CacheF32, Layers: layers,
	}
	e, err := engine.New(m, params)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()

	asked := questions(t, m, params)
	long, _ := time.ParseDuration(os.Getenv("IVO_SOAK"))
	until := time.Now().Add(long)
	var finished, cut, tokens atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	for client := range streams {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(client)))
			for n := 0; n < 1 || time.Now().Before(until); n++ {
				q := asked[rng.IntN(len(asked))]
				ctx, hangUp := context.WithCancel(ctx)
				after := math.MaxInt // pieces
				if rng.IntN(3) == 0 {
					after = rng.IntN(12)
				}
				var said bytes.Buffer
				pieces := 0
				if after == 0 {
					hangUp()
				}
				q.task.Priority = rng.IntN(3)
				r, err := q.policy.Answer(ctx, e, q.task, func(text []byte) {
					said.Write(text)
					if pieces++; pieces == after {
						hangUp()
					}
				})
				hangUp()
				switch {
				case errors.Is(err, context.Canceled) && after < math.MaxInt:
					cut.Add(1)
					if !strings.HasPrefix(q.want.Text, said.String()) {
						t.Errorf("%s was cut off after %q, alone it says %q", q.name, said.String(), q.want.Text)
					}
				case err != nil:
					t.Errorf("%s: %v", q.name, err)
				default:
					finished.Add(1)
					tokens.Add(int64(len(r.Tokens)))
					if said.String() != r.Text && q.policy.Strategy.Method != decode.MethodBestOfN {
						t.Errorf("%s streamed %q and said %q", q.name, said.String(), r.Text)
					}
					if d := apart(r, q.want); d != "" {
						t.Errorf("%s: %s", q.name, d)
					}
				}
				if t.Failed() {
					cancel()
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		clients.Wait()
		close(done)
	}()
	flat(t, done, until)
	<-done
	if l := e.Load(); l.Queued != 0 || l.Jobs != 0 || l.Sequences != 0 || l.Cells != 0 {
		t.Errorf("in the end: %+v", l)
	}
	if finished.Load() == 0 || cut.Load() == 0 || e.Stats().Reused == 0 {
		t.Errorf("%d answers finished, %d were cut, %d tokens of prompts were reused", finished.Load(), cut.Load(), e.Stats().Reused)
	}
	t.Logf("%d answers of %d tokens finished, %d were cut off; %d tokens decoded, %d of prompts reused, %d batches in %v",
		finished.Load(), tokens.Load(), cut.Load(), e.Stats().Tokens, e.Stats().Reused, e.Stats().Decodes, e.Stats().Total.Round(time.Second))
}

// apart says how a response differs from another.
func apart(got, want decode.Response) string {
	if got.Text != want.Text || len(got.Tokens) != len(want.Tokens) {
		return fmt.Sprintf("says %q, alone %q", got.Text, want.Text)
	}
	for i := range got.LogProbs {
		if d := got.LogProbs[i] - want.LogProbs[i]; !(d < 1e-3 && d > -1e-3) || got.Tokens[i] != want.Tokens[i] {
			return fmt.Sprintf("token %d is %d with log-probability %g, alone %d with %g", i, got.Tokens[i], got.LogProbs[i], want.Tokens[i], want.LogProbs[i])
		}
	}
	return ""
}

// flat watches a long soak: after a first fifth, neither memory nor open files grow.
func flat(t *testing.T, done <-chan struct{}, until time.Time) {
	whole := time.Until(until)
	if whole < 10*time.Second {
		return
	}
	tick := time.NewTicker(whole / 20)
	defer tick.Stop()
	var resident, files []int
	for {
		select {
		case <-done:
			for name, n := range map[string][]int{"resident pages": resident, "open files": files} {
				from, to := n[min(len(n)-1, 4)], n[len(n)-1]
				t.Logf("%s: %v", name, n)
				if float64(to) > 1.05*float64(from) {
					t.Errorf("%s grew from %d to %d", name, from, to)
				}
			}
			return
		case <-tick.C:
			runtime.GC()
			var total, pages int
			if stat, err := os.ReadFile("/proc/self/statm"); err == nil {
				fmt.Sscan(string(stat), &total, &pages)
			}
			fds, _ := os.ReadDir("/proc/self/fd")
			resident, files = append(resident, pages), append(files, len(fds))
		}
	}
}

// questions are what is asked: every method on a few prompts, with what is said alone.
func questions(t *testing.T, m *llama.Model, params engine.Params) []prompted {
	t.Helper()
	params.Kept = -1
	alone, err := engine.New(m, params)
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	const system = "yesterday i found a red lamp at the market. my teacher almost lost a tiny hat. " // as a system prompt, before all others
	var tasks []batch.Task
	for i, text := range []string{"i sold a huge drum.", "my cousin broke a green kettle at home.", "the weather was nice. i hid a blue bike.", "a"} {
		record := prompt.Record{ID: fmt.Sprint(i), Text: system + text + "\nTL;DR:", Fields: map[string]json.RawMessage{"letter": []byte("e")}}
		tokens, err := m.Tokenize(record.Text, true, false)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, batch.Task{Encoded: prompt.Encoded{Record: record, Tokens: tokens}})
	}
	base := batch.Policy{Sampling: policy.Sampling{Temp: 0.9}, MaxTokens: 24}
	head := value.Head(brevity(t, alone, base, tasks), valuehead.Reading{Beta: 0.3})
	var out []prompted
	for _, method := range decode.Methods {
		for _, by := range []string{"head", "reward"} {
			p := base
			p.Strategy = decode.Strategy{
				Method: method, N: 4, Beam: decode.Beam{Beams: 3, Block: 4}, RawBeta: true,
				Guide: decode.Guide{TopK: 5, Beta: 0.5, Rest: decode.RestParent},
			}
			switch {
			case method == decode.MethodSample:
			case by == "head":
				p.Value = head
			default:
				p.ValueBy = taste{prefixes: true}
			}
			if method == decode.MethodBlockBeam && by == "head" {
				p.Rerank = reward.Model(taste{})
			}
			if method == decode.MethodOnePass && by == "head" {
				continue // the head does not value tokens ahead
			}
			for _, task := range tasks {
				q := prompted{kind: kind{fmt.Sprintf("%s by %s of prompt %s", method, by, task.ID), p}, task: task}
				if err := p.Decode(t.Context(), alone, []batch.Task{task}, func(_, _ int, r decode.Response) error {
					q.want = r
					return nil
				}); err != nil {
					t.Fatalf("%s: %v", q.name, err)
				}
				out = append(out, q)
			}
		}
	}
	return out
}

// brevity is a head that has learned that every token costs.
func brevity(t *testing.T, e *engine.Engine, p batch.Policy, tasks []batch.Task) *valuehead.Head {
	t.Helper()
	fp, err := e.Model().Fingerprint()
	if err != nil {
		t.Fatal(err)
	}
	layers := e.Params().Layers
	schema := states.Schema{
		Backbone: fp, Layers: layers, Width: len(layers) * e.Model().Info().Width, Scalars: value.Scalars,
		Top: e.Params().Top, Candidates: decode.Candidates, Prompts: true, PromptLayers: layers,
	}
	f, err := valuehead.NewFeatures(schema, valuehead.FeaturesOf(valuehead.Recall))
	if err != nil {
		t.Fatal(err)
	}
	data := valuehead.NewDataset(f)
	p.Strategy, p.Record = decode.Strategy{Method: decode.MethodSample}, true
	for i := range tasks {
		tasks[i].Samples = 8
	}
	err = p.Decode(t.Context(), e, tasks, func(task, sample int, r decode.Response) error {
		return data.AddExample(valuehead.Example{Return: -float32(len(r.Tokens)), Prompt: r.Prompt, Trajectory: &states.Trajectory{
			Prompt: tasks[task].ID, Sample: sample, Tokens: r.Tokens, Hidden: r.States, Scalars: r.Scalars,
			Candidates: r.Candidates, CandidateLogProbs: r.CandidateLogProbs,
		}})
	})
	for i := range tasks {
		tasks[i].Samples = 0
	}
	if err != nil {
		t.Fatal(err)
	}
	h, _, err := valuehead.Train(t.Context(), data, valuehead.TrainOptions{Kind: valuehead.Recall, Shape: valuehead.Shape{Atoms: 11}, Epochs: 4, Batch: 64, HeldOut: 0.2, Seed: 1, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	return h
}
