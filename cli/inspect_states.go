package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// statesFinding describes a shard of cached states, which was read to its end.
type statesFinding struct {
	Kind         string        `json:"kind"`
	Schema       states.Schema `json:"schema"`
	Prompts      int           `json:"prompts"`
	Trajectories int           `json:"trajectories"`
	States       int           `json:"states"`
	RewardMean   float64       `json:"reward_mean"`
}

func examineStates(path string) (finding, error) {
	r, err := states.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f := &statesFinding{Kind: "states", Schema: r.Schema()}
	prompts := map[string]bool{}
	for t, err := range r.All() {
		if err != nil {
			return nil, err
		}
		prompts[t.Prompt] = true
		f.Trajectories++
		f.States += len(t.Tokens)
		f.RewardMean += float64(t.Reward)
	}
	f.Prompts = len(prompts)
	f.RewardMean /= float64(max(f.Trajectories, 1))
	return f, nil
}

func (f *statesFinding) write(w io.Writer) error {
	return sheet{
		{"states", fmt.Sprintf("%d of %d trajectories of %d prompts", f.States, f.Trajectories, f.Prompts)},
		{"mean reward", fmt.Sprintf("%.3f", f.RewardMean)},
		{"of model", f.Schema.Backbone + " (its fingerprint)"},
		{"layers", fmt.Sprintf("%v, %d numbers in all", f.Schema.Layers, f.Schema.Width)},
		{"scalars", strings.Join(f.Schema.Scalars, ", ")},
	}.write(w)
}
