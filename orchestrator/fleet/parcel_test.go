package fleet

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// sample is an order with its result.
func sample(t testing.TB) (*rollout.Drawing, *rollout.Shard, []byte) {
	t.Helper()
	schema := states.Schema{Backbone: "b", Norms: "n", Layers: []int{0}, Width: 2, Scalars: []string{"logp"}, Prompts: true, PromptLayers: []int{0}}
	d := &rollout.Drawing{Key: "k", Schema: &schema, Tasks: []rollout.Task{{ID: "p", Tokens: []int32{1, 2}, Samples: 2}}}
	s := &rollout.Shard{Prompts: []states.Prompt{{ID: "p", Tokens: []int32{1, 2}, Hidden: []float32{1, 2, 3, 4}}}}
	for k := range 2 {
		r := decode.Response{Text: "a", Tokens: []int32{3, 4}, LogProbs: []float32{-1, -2}, Finish: decode.FinishLength}
		s.Answers = append(s.Answers, rollout.Answer{Response: batch.Stored("p", k, r, true)})
		s.States = append(s.States, states.Trajectory{Prompt: "p", Sample: k, Tokens: r.Tokens, Hidden: []float32{1, 2, 3, 4}, Scalars: []float32{-1, -2}})
	}
	path := filepath.Join(t.TempDir(), "states")
	if err := states.Write(path, schema, s.Prompts, s.States); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	begin, rest, err := pack(d.Key, s, f, mostShard)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := io.ReadAll(io.MultiReader(bytes.NewReader(begin), rest))
	if err != nil {
		t.Fatal(err)
	}
	return d, s, whole
}

// A result comes through whole, and not at all where a byte of it is missing or is another: what of it is not as it was
// sent is found, or makes no difference.
func TestParcel(t *testing.T) {
	d, s, whole := sample(t)
	file := filepath.Join(t.TempDir(), "states")
	got, err := unpack(bytes.NewReader(whole), d, file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Answers, got.Answers); diff != "" {
		t.Error(diff)
	}
	for i := 0; i < len(whole); i += 5 {
		if _, err := unpack(bytes.NewReader(whole[:i]), d, file); err == nil {
			t.Errorf("the first %d bytes are enough", i)
		}
		other := bytes.Clone(whole)
		other[i] ^= 1 << (i % 8)
		if got, err := unpack(bytes.NewReader(other), d, file); err == nil && !cmp.Equal(got.Answers, s.Answers) {
			t.Errorf("byte %d makes a difference that is not found", i)
		}
	}
}
