package loop

import (
	"github.com/ivo-decoding/ivo/valuehead"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// store is the trajectories of a run's shards with their prompts, read as training asks
// for them: they may be more than memory holds.
type store struct {
	*states.Set
	features *valuehead.Features
	prompt   states.Prompt // the one read last: its trajectories are neighbours
}

func openStore(paths []string, schema states.Schema, features *valuehead.Features) (*store, error) {
	set, err := states.OpenSet(paths, schema)
	return &store{Set: set, features: features}, err
}

func (s *store) Features() *valuehead.Features { return s.features }

// At reads trajectory i (valuehead.Source).
func (s *store) At(i int) (valuehead.Example, error) {
	t, err := s.Trajectory(i)
	if err != nil {
		return valuehead.Example{}, err
	}
	if s.prompt.ID != t.Prompt || s.prompt.Tokens == nil {
		if s.prompt, err = s.Prompt(t.Prompt); err != nil {
			return valuehead.Example{}, err
		}
	}
	p := s.prompt
	return valuehead.Example{Trajectory: &t, Prompt: &p}, nil
}
