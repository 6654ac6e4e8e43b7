package valuehead

import (
	"fmt"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Returns says what the return of a stored response is; ok is false where it has none. shard
// is the path of the file that holds its states: every round numbers its samples anew.
type Returns func(shard, prompt string, sample int) (value float32, ok bool)

// Stored is a [Source] on disk: it reads trajectories, and their prompts where the schema
// has them, when training asks for them.
type Stored struct {
	// Candidates makes those of a trajectory of what is stored of them, for targets that ask for them; nil
	// where none does.
	Candidates func(*states.Trajectory) *Candidates

	features *Features
	set      *states.Set
	labelled []labelled
	prompt   *states.Prompt // the last one read: neighbours share it
}

// labelled is a trajectory of the set with its return.
type labelled struct {
	index int
	value float32
}

// OpenStored opens finished shards whose schemas match that of the features, with the
// returns of their trajectories. Those without a return are left out. Where returns is nil,
// the rewards count that shards of the first two formats hold themselves.
func OpenStored(features *Features, shards []string, returns Returns) (*Stored, error) {
	set, err := states.OpenSet(shards, features.schema)
	if err != nil {
		return nil, fmt.Errorf("valuehead: %w", err)
	}
	s := &Stored{features: features, set: set}
	for i := range set.Len() {
		value, ok, err := returnOf(set, i, returns)
		if err != nil {
			return nil, fmt.Errorf("valuehead: %w", err)
		}
		if ok {
			s.labelled = append(s.labelled, labelled{i, value})
		}
	}
	if len(s.labelled) == 0 && set.Len() > 0 {
		return nil, fault.New(op, "reward", nil, "score the responses with {reward} first", "none of the %d stored responses has a return", set.Len())
	}
	return s, nil
}

func returnOf(set *states.Set, i int, returns Returns) (value float32, ok bool, err error) {
	if returns == nil {
		value, err = set.Reward(i)
		return value, value == value, err
	}
	m, err := set.At(i)
	if err != nil {
		return 0, false, err
	}
	shard, err := set.Shard(i)
	if err != nil {
		return 0, false, err
	}
	value, ok = returns(shard, m.Prompt, m.Sample)
	return value, ok, nil
}

// Features is the layout of the rows.
func (s *Stored) Features() *Features { return s.features }

// Len is the number of trajectories that have a return, empty ones included.
func (s *Stored) Len() int { return len(s.labelled) }

// Unlabelled is the number of trajectories that were left out: they have no return.
func (s *Stored) Unlabelled() int { return s.set.Len() - len(s.labelled) }

// At reads trajectory i of those with a return.
func (s *Stored) At(i int) (Example, error) {
	t, err := s.set.Trajectory(s.labelled[i].index)
	if err != nil {
		return Example{}, err
	}
	e := Example{Trajectory: &t, Return: s.labelled[i].value}
	if s.Candidates != nil {
		e.Candidates = s.Candidates(&t)
	}
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
