package valuehead

import (
	"fmt"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Stored is a [Source] on disk: it reads trajectories, and their prompts where the schema
// has them, when training asks for them.
type Stored struct {
	features *Features
	set      *states.Set
	prompt   *states.Prompt // the last one read: neighbours share it
}

// OpenStored opens finished shards whose schemas match that of the features.
func OpenStored(features *Features, shards []string) (*Stored, error) {
	set, err := states.OpenSet(shards, features.schema)
	if err != nil {
		return nil, fmt.Errorf("valuehead: %w", err)
	}
	return &Stored{features: features, set: set}, nil
}

// Features is the layout of the rows.
func (s *Stored) Features() *Features { return s.features }

// Len is the number of trajectories, empty ones included.
func (s *Stored) Len() int { return s.set.Len() }

// At reads trajectory i.
func (s *Stored) At(i int) (Example, error) {
	t, err := s.set.Trajectory(i)
	if err != nil {
		return Example{}, err
	}
	e := Example{Trajectory: &t}
	if !s.features.schema.Prompts {
		return e, nil
	}
	if s.prompt == nil || s.prompt.ID != t.Prompt {
		p, err := s.set.Prompt(t.Prompt)
		if err != nil {
			return Example{}, err
		}
		s.prompt = &p
	}
	e.Prompt = s.prompt
	return e, nil
}
