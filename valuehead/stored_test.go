package valuehead

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Training from shards gives the head that training from memory gives.
func TestStored(t *testing.T) {
	d := copies(t, 60, FeaturesOf(Recall))
	schema := d.Features().Schema()
	schema.Float = states.F32
	var paths []string
	for part := range 2 {
		path := filepath.Join(t.TempDir(), "shard")
		var prompts []states.Prompt
		var trajectories []states.Trajectory
		for _, e := range d.examples[30*part : 30*part+30] {
			prompts, trajectories = append(prompts, *e.Prompt), append(trajectories, *e.Trajectory)
		}
		if err := states.Write(path, schema, prompts, trajectories); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	src, err := OpenStored(d.Features(), paths)
	if err != nil {
		t.Fatal(err)
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
	if _, err := OpenStored(other, paths); err == nil {
		t.Error("shards of another model were opened")
	}
}
