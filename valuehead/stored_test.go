package valuehead

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Training from shards gives the head that training from memory gives.
func TestStored(t *testing.T) {
	d := copies(t, 60, FeaturesOf(Recall))
	schema := d.Features().Schema()
	schema.Float = states.F32
	var paths []string
	returns := map[string]float32{}
	for part := range 2 {
		path := filepath.Join(t.TempDir(), "shard")
		var prompts []states.Prompt
		var trajectories []states.Trajectory
		for _, e := range d.examples[30*part : 30*part+30] {
			prompts, trajectories = append(prompts, *e.Prompt), append(trajectories, *e.Trajectory)
			returns[path+e.Trajectory.Prompt] = e.Return
		}
		// A response that could not be scored.
		unscored := *d.examples[30*part].Trajectory
		unscored.Sample = 1
		trajectories = append(trajectories, unscored)
		if err := states.Write(path, schema, prompts, trajectories); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	of := func(shard, prompt string, sample int) (float32, bool) {
		v, ok := returns[shard+prompt]
		return v, ok && sample == 0
	}
	src, err := OpenStored(d.Features(), paths, of)
	if err != nil {
		t.Fatal(err)
	}
	if src.Len() != 60 || src.Unlabelled() != 2 {
		t.Errorf("%d trajectories, %d left out; want 60 and 2", src.Len(), src.Unlabelled())
	}
	o := TrainOptions{Kind: Recall, Epochs: 2, Batch: 50, HeldOut: 0.2, Shape: Shape{Hidden: 6, Project: 4, Channels: 3, Keys: 2, Values: 3, Products: 2, Scan: 2}}
	want, _ := mustTrain(t, d, o)
	got, _, err := Train(t.Context(), src, o)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.params, want.params) {
		t.Error("shards and memory trained different heads")
	}
	other := mustFeatures(t, testSchema, FeatureOptions{})
	other.schema.Backbone = "another"
	if _, err := OpenStored(other, paths, of); err == nil {
		t.Error("shards of another model were opened")
	}
	if _, err := OpenStored(d.Features(), paths, nil); err == nil || !strings.Contains(err.Error(), "return") {
		t.Errorf("error %v of shards without returns", err)
	}
}

// Shards of the first two formats bring returns of their own.
func TestStoredRewards(t *testing.T) {
	path := filepath.Join("states", "testdata", "v2.states")
	r, err := states.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f := mustFeatures(t, r.Schema(), FeatureOptions{})
	own, err := OpenStored(f, []string{path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Len() {
		want, err := r.Reward(i)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := own.At(i); err != nil || e.Return != want || e.Prompt.ID != e.Trajectory.Prompt {
			t.Errorf("trajectory %d has the return %v (%v), want %v", i, e.Return, err, want)
		}
	}
	other, err := OpenStored(f, []string{path}, func(string, string, int) (float32, bool) { return 5, true })
	if err != nil {
		t.Fatal(err)
	}
	if e, err := other.At(0); err != nil || e.Return != 5 {
		t.Errorf("the return is %v (%v), not the one that was asked for", e.Return, err)
	}

	// A newer shard, with what heads do not read, goes with it.
	s := r.Schema()
	s.Norms, s.Top, s.Candidates = "n", 64, 1
	p, err := r.Prompt("prompt-0")
	if err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(t.TempDir(), "shard")
	tr := states.Trajectory{Prompt: p.ID, Tokens: []int32{1}, Hidden: make([]float32, s.Width), Scalars: make([]float32, len(s.Scalars)), Candidates: []int32{1}, CandidateLogProbs: []float32{0}}
	if err := states.Write(newer, s, []states.Prompt{p}, []states.Trajectory{tr}); err != nil {
		t.Fatal(err)
	}
	for _, schema := range []states.Schema{r.Schema(), s} {
		both, err := OpenStored(mustFeatures(t, schema, FeatureOptions{}), []string{path, newer}, func(string, string, int) (float32, bool) { return 5, true })
		if err != nil || both.Len() != r.Len()+1 {
			t.Errorf("of shards of two formats: %v", err)
		}
	}
}
