package rollout_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/orchestrator/value"
)

func init() { slog.SetLogLoggerLevel(slog.LevelWarn) }

const lab = "../../testdata/lab/summarize-"

// A shard done again, on another engine that has decoded other things before, is the
// same shard.
func TestCollect(t *testing.T) {
	m, err := llama.Load(lab+"s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	layers := []int{3, 5}
	pool, err := engine.NewPool(m, engine.Params{Sequences: 16, Layers: layers}, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	records, err := prompt.Read(lab+"train.jsonl", prompt.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tasks := func(from, first, samples int) (out []batch.Task) {
		for _, r := range records[from : from+5] {
			tokens, err := encoder.Encode(r)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, batch.Task{Encoded: prompt.Encoded{Record: r, Tokens: tokens}, First: first, Samples: samples})
		}
		return out
	}
	p := batch.Policy{
		Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: policy.Sampling{Temp: 0.7}, MaxTokens: 40,
		Key: func(id string, sample int) uint64 { return policy.Key(7, 1, id, sample) },
	}
	shards := make([]*rollout.Shard, 5)
	err = pool.Each(context.Background(), len(shards), func(ctx context.Context, e *engine.Engine, i int) (err error) {
		if i == 4 { // more samples
			shards[i], err = rollout.Collect(ctx, e, p, tasks(0, 3, 2))
			return err
		}
		shards[i], err = rollout.Collect(ctx, e, p, tasks(i%2*5, 0, 3))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if d := cmp.Diff(shards[i].Responses(), shards[i+2].Responses()); d != "" {
			t.Errorf("shard %d differs the second time:\n%s", i, d)
		}
		if d := cmp.Diff(shards[i].States, shards[i+2].States); d != "" {
			t.Errorf("the states of shard %d differ the second time:\n%s", i, d)
		}
	}
	first := shards[0].Responses()
	if cmp.Equal(first[0].Tokens, first[1].Tokens) && cmp.Equal(first[1].Tokens, first[2].Tokens) {
		t.Error("three samples of a prompt are one")
	}
	if more := shards[4].Responses(); more[0].Sample != 3 || more[1].Sample != 4 || cmp.Equal(more[0].Tokens, first[0].Tokens) {
		t.Errorf("more samples are numbers %d and %d, and the first is %q where sample 0 is %q", more[0].Sample, more[1].Sample, more[0].Text, first[0].Text)
	}
	for k, r := range first {
		record, s := records[k/3], shards[0].States[k]
		if r.Prompt != record.ID || r.Sample != k%3 || s.Prompt != r.Prompt || s.Sample != r.Sample || !cmp.Equal(s.Tokens, r.Tokens) {
			t.Errorf("response %d: %+v, states of %s %d", k, r, s.Prompt, s.Sample)
		}
		if len(s.Hidden) != len(r.Tokens)*len(layers)*m.Info().Width || len(s.Scalars) != len(r.Tokens)*len(value.Scalars) {
			t.Errorf("response %d of %d tokens has %d hidden floats and %d scalars", k, len(r.Tokens), len(s.Hidden), len(s.Scalars))
		}
	}
	if p := shards[0].Prompts; len(p) != 5 || p[1].ID != records[1].ID || len(p[1].Hidden) != len(p[1].Tokens)*len(layers)*m.Info().Width {
		t.Errorf("%d prompts, the second %q of %d tokens with %d floats", len(p), p[1].ID, len(p[1].Tokens), len(p[1].Hidden))
	}
}
