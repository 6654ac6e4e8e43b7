package rollout_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
)

func init() { slog.SetLogLoggerLevel(slog.LevelWarn) }

const lab = "../../testdata/lab/summarize-"

// A shard done again, on another engine that has decoded other things before, is the
// same shard; its rewards are what the reward model says of its responses.
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
	prompts, err := prompt.Read(lab+"train.jsonl", prompt.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p := rollout.Policy{Strategy: decode.Strategy{Method: decode.MethodSample}, Sampling: decode.Sampling{Temp: 0.7}, MaxTokens: 40}
	shards := make([]*rollout.Shard, 4)
	err = pool.Each(context.Background(), len(shards), func(ctx context.Context, e *engine.Engine, i int) error {
		from := i % 2 * 5
		shards[i], err = rollout.Collect(ctx, e, p, prompts[from:from+5], reward.Gold{}, 3, 7, 1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if d := cmp.Diff(shards[i].Trajectories, shards[i+2].Trajectories); d != "" {
			t.Errorf("shard %d differs the second time:\n%s", i, d)
		}
		if d := cmp.Diff(shards[i].States, shards[i+2].States); d != "" {
			t.Errorf("the states of shard %d differ the second time:\n%s", i, d)
		}
	}
	if cmp.Equal(shards[0].Trajectories[0].Tokens, shards[0].Trajectories[1].Tokens) && cmp.Equal(shards[0].Trajectories[1].Tokens, shards[0].Trajectories[2].Tokens) {
		t.Error("three samples of a prompt are one")
	}
	for k, tr := range shards[0].Trajectories {
		prompt := prompts[k/3]
		want, err := reward.Gold{}.Score(context.Background(), []reward.Item{{Prompt: prompt, Response: tr.Response}})
		if err != nil {
			t.Fatal(err)
		}
		s := shards[0].States[k]
		if tr.Prompt != prompt.ID || tr.Sample != k%3 || tr.Reward != want[0].Value || s.Prompt != tr.Prompt || s.Sample != tr.Sample {
			t.Errorf("trajectory %d: %+v, states of %s %d; the rule gives %v", k, tr, s.Prompt, s.Sample, want)
		}
		if len(s.Hidden) != len(tr.Tokens)*len(layers)*m.Info().Width || len(s.Scalars) != len(tr.Tokens)*len(decode.Scalars) {
			t.Errorf("trajectory %d of %d tokens has %d hidden floats and %d scalars", k, len(tr.Tokens), len(s.Hidden), len(s.Scalars))
		}
	}

	path := filepath.Join(t.TempDir(), "t.jsonl.zst")
	if err := rollout.WriteTrajectories(path, shards[0].Trajectories); err != nil {
		t.Fatal(err)
	}
	back, err := rollout.ReadTrajectories(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(shards[0].Trajectories, back); d != "" {
		t.Errorf("trajectories read back differ:\n%s", d)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{data[:len(data)/2], append(append([]byte(nil), data[:40]...), data[41:]...)} {
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := rollout.ReadTrajectories(path); err == nil {
			t.Error("damaged trajectories were read")
		}
	}
}
