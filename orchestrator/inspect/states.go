package inspect

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// States describes a shard of cached states, which was read to its end.
type States struct {
	Kind          string        `json:"kind"`
	Version       int           `json:"version"` // of the format
	Schema        states.Schema `json:"schema"`
	Finished      bool          `json:"finished"`
	Bytes         int64         `json:"bytes"`
	Blocks        int           `json:"blocks"`
	Prompts       int           `json:"prompts"`        // that have trajectories
	StoredPrompts int           `json:"stored_prompts"` // whose own states are in the shard
	Trajectories  int           `json:"trajectories"`
	States        int           `json:"states"`
	// Of shards of the first two formats, which hold rewards:
	RewardMean float64 `json:"reward_mean,omitempty"` // of the scored trajectories
	Scored     int     `json:"scored,omitempty"`
}

func findStates(path string) (Finding, error) {
	r, err := states.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	f := &States{
		Kind: "states", Version: r.Version(), Schema: r.Schema(), Finished: r.Finished(), Bytes: st.Size(),
		Blocks: r.Blocks(), StoredPrompts: r.Prompts(),
	}
	prompts := map[string]bool{}
	for t, err := range r.All() {
		if errors.Is(err, states.ErrUnfinished) {
			break // its last fault; what is there may be looked at
		}
		if err != nil {
			return nil, err
		}
		prompts[t.Prompt] = true
		f.Trajectories++
		f.States += len(t.Tokens)
	}
	for i := range r.Len() {
		if v, err := r.Reward(i); err == nil && v == v {
			f.Scored++
			f.RewardMean += float64(v)
		}
	}
	f.Prompts = len(prompts)
	f.RewardMean /= float64(max(f.Scored, 1))
	return f, nil
}

func (f *States) Write(w io.Writer) error {
	stored := fmt.Sprintf("%s in %d blocks, hidden states as %s, format %d", sheet.Size(uint64(f.Bytes)), f.Blocks, f.Schema.Float, f.Version)
	if !f.Finished {
		stored += "; unfinished (ivo states verify says more)"
	}
	s := sheet.Sheet{
		{"states", fmt.Sprintf("%d of %d trajectories of %d prompts", f.States, f.Trajectories, f.Prompts)},
		{"of model", f.Schema.Backbone + " (its fingerprint)"},
		{"layers", fmt.Sprintf("%v, %d numbers in all", f.Schema.Layers, f.Schema.Width)},
		{"scalars", strings.Join(f.Schema.Scalars, ", ")},
	}
	if f.Schema.Prompts {
		s = append(s, sheet.Property{"prompts", fmt.Sprintf("%d stored, layers %v, %d numbers in all", f.StoredPrompts, f.Schema.PromptLayers, f.Schema.PromptWidth())})
	}
	if f.Schema.Candidates > 0 {
		s = append(s, sheet.Property{"candidates", fmt.Sprintf("the %d likeliest tokens before each", f.Schema.Candidates)})
	}
	if f.Scored > 0 {
		s = append(s, sheet.Property{"mean reward", fmt.Sprintf("%.3f of %d scored", f.RewardMean, f.Scored)})
	}
	return append(s, sheet.Property{"stored", stored}).Write(w)
}
