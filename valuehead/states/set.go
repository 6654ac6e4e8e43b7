package states

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"sort"
	"sync"
)

// Set is several finished shards as one store, in the order in which they were named. It
// holds no file open. Its methods may be called concurrently.
type Set struct {
	readers []*Reader
	firsts  []int // first trajectory of each shard, and the number of all
	blocks  []int // first block of each shard, and the number of all

	prompts   sync.Once
	holder    map[string]*Reader // of each prompt
	promptErr error
}

// OpenSet opens the finished shards at paths, whose schemas must match want.
func OpenSet(paths []string, want Schema) (*Set, error) {
	s := &Set{firsts: []int{0}, blocks: []int{0}}
	for i, path := range paths {
		src := shardFile(path)
		r, err := newReader(path, src, src.size, func() error { return nil })
		if err != nil {
			return nil, err
		}
		if err := r.Expect(want); err != nil {
			return nil, err
		}
		if faults := r.Faults(); len(faults) > 0 {
			return nil, faults[0]
		}
		s.readers = append(s.readers, r)
		s.firsts = append(s.firsts, s.firsts[i]+r.Len())
		s.blocks = append(s.blocks, s.blocks[i]+r.Blocks())
	}
	return s, nil
}

// shardFile is a file that is open only while it is read: a store may have more shards
// than a process may open files.
type shardFile string

func (p shardFile) ReadAt(b []byte, off int64) (int, error) {
	f, err := os.Open(string(p))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(b, off)
}

func (p shardFile) size() (int64, error) {
	st, err := os.Stat(string(p))
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// Len is the number of trajectories, Blocks that of blocks.
func (s *Set) Len() int    { return s.firsts[len(s.readers)] }
func (s *Set) Blocks() int { return s.blocks[len(s.readers)] }

// in returns the shard that holds item i by the firsts of the shards, and i's number in it.
func (s *Set) in(firsts []int, i int, what string) (*Reader, int, error) {
	n := firsts[len(s.readers)]
	if i < 0 || i >= n {
		return nil, 0, fmt.Errorf("%s %d of the %d of a set of shards (ask for one that is there)", what, i, n)
	}
	k := sort.Search(len(s.readers), func(k int) bool { return firsts[k+1] > i })
	return s.readers[k], i - firsts[k], nil
}

// At is [Reader.At] of trajectory i of the set.
func (s *Set) At(i int) (Meta, error) {
	r, i, err := s.in(s.firsts, i, "trajectory")
	if err != nil {
		return Meta{}, err
	}
	return r.At(i)
}

// Reward is [Reader.Reward] of trajectory i of the set.
func (s *Set) Reward(i int) (float32, error) {
	r, i, err := s.in(s.firsts, i, "trajectory")
	if err != nil {
		return 0, err
	}
	return r.Reward(i)
}

// Shard is the file that holds trajectory i of the set.
func (s *Set) Shard(i int) (string, error) {
	r, _, err := s.in(s.firsts, i, "trajectory")
	if err != nil {
		return "", err
	}
	return r.path, nil
}

// Rows is [Reader.Rows] of trajectory i of the set.
func (s *Set) Rows(i, from, to int, dst []float32) error {
	r, i, err := s.in(s.firsts, i, "trajectory")
	if err != nil {
		return err
	}
	return r.Rows(i, from, to, dst)
}

// Trajectory is [Reader.Trajectory] of trajectory i of the set.
func (s *Set) Trajectory(i int) (Trajectory, error) {
	r, i, err := s.in(s.firsts, i, "trajectory")
	if err != nil {
		return Trajectory{}, err
	}
	return r.Trajectory(i)
}

// Block is [Reader.Block] of block b of the set.
func (s *Set) Block(b int) ([]Trajectory, error) {
	r, b, err := s.in(s.blocks, b, "block")
	if err != nil {
		return nil, err
	}
	return r.Block(b)
}

// Prompt reads the prompt with this id from a shard that holds it.
func (s *Set) Prompt(id string) (Prompt, error) {
	s.prompts.Do(func() {
		s.holder = map[string]*Reader{}
		for _, r := range s.readers {
			at, err := r.promptTable(r.table.Load())
			s.promptErr = errors.Join(s.promptErr, err)
			for id := range at {
				s.holder[id] = r
			}
		}
	})
	r := s.holder[id]
	switch {
	case r != nil:
		return r.Prompt(id)
	case s.promptErr != nil:
		return Prompt{}, s.promptErr
	}
	return Prompt{}, fmt.Errorf("prompt %q is not in the %d shards (collect the states again with the prompts)", id, len(s.readers))
}

// Shuffle yields every trajectory once, for an epoch of a store that is larger than
// memory: blocks in random order, the trajectories of each `buffer` blocks mixed. It
// holds that many blocks at a time. The order depends on rng alone. An error ends the
// sequence.
func (s *Set) Shuffle(rng *rand.Rand, buffer int) iter.Seq2[Trajectory, error] {
	return func(yield func(Trajectory, error) bool) {
		order := rng.Perm(s.Blocks())
		var pool []Trajectory
		for i, b := range order {
			block, err := s.Block(b)
			if err != nil {
				yield(Trajectory{}, err)
				return
			}
			pool = append(pool, block...)
			if (i+1)%max(buffer, 1) > 0 && i+1 < len(order) {
				continue
			}
			rng.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
			for _, t := range pool {
				if !yield(t, nil) {
					return
				}
			}
			clear(pool)
			pool = pool[:0]
		}
	}
}
