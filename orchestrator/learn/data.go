// Package learn trains value functions from the states that a run has stored and from what a
// reward says of its responses. It decodes nothing.
package learn

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Data are shards of stored states, with the returns of their trajectories.
type Data struct {
	Shards []string // paths of the states
	// Returns gives the return of a trajectory of a shard; nil where the shards carry their own,
	// as those of the first versions of ivo do.
	Returns func(shard, prompt string, sample int) (float32, bool)
	// From are the keys of the responses and scores among these, by name, and Mean, SD, Tokens and
	// Count describe the newest round's.
	From   map[string]string
	Count  int
	Mean   float64
	SD     float64
	Tokens float64 // mean length

	returns map[string]map[trajectory]float32 // by shard
	lo, hi  float64                           // the least and the greatest return
}

// trajectory names one within a shard.
type trajectory struct {
	prompt string
	sample int
}

// Of reads the trajectories of a run's rounds, named for each round, the newest last, with the
// scores that lie in a reward's folder. Responses without a score are left out.
func Of(dir string, rounds [][]string, folder string) (*Data, error) {
	d := newData()
	for i, names := range rounds {
		for _, name := range names {
			if err := d.add(dir, name, folder, i == len(rounds)-1); err != nil {
				return nil, err
			}
		}
	}
	if len(d.Shards) == 0 {
		return nil, &fault.Error{Op: "train", Err: fmt.Errorf("the run in %s has no finished states yet", dir), Hint: "ivo inspect shows how far it is; run its ivo iterate again to continue"}
	}
	d.finish()
	return d, nil
}

// OfShards reads shards of states, wherever they come from, with the scores that the runs they
// lie in keep in a reward's folder; an empty folder stands for the only one there is. Where no
// responses lie beside the first shard, all carry their rewards themselves, as those of the
// first versions of ivo do.
func OfShards(shards []string, folder string) (*Data, error) {
	d := newData()
	for i, shard := range shards {
		dir := filepath.Join(filepath.Dir(shard), "..", "..")
		round := filepath.Base(filepath.Dir(filepath.Dir(shard)))
		name := path.Join(round, "trajectories", strings.TrimSuffix(filepath.Base(shard), ".states")+".jsonl.zst")
		if _, err := os.Stat(filepath.Join(dir, name)); run.Absent(err) && i == 0 {
			return &Data{Shards: shards, From: map[string]string{}}, nil
		}
		rewards := folder
		if rewards == "" {
			folders, err := run.RewardFolders(dir)
			if err != nil {
				return nil, err
			}
			if len(folders) != 1 {
				return nil, fault.New("train", "scores", nil, "choose one with {scores}", "%s was scored by %d rewards: %s", dir, len(folders), strings.Join(folders, ", "))
			}
			rewards = folders[0]
		}
		if err := d.add(dir, name, rewards, true); err != nil {
			return nil, err
		}
		d.Shards[len(d.Shards)-1] = shard // as it was named
		d.returns[shard] = d.returns[filepath.Join(dir, run.StatesOf(name))]
	}
	d.finish()
	return d, nil
}

func newData() *Data {
	d := &Data{From: map[string]string{}, returns: map[string]map[trajectory]float32{}, lo: math.Inf(1), hi: math.Inf(-1)}
	d.Returns = func(shard, prompt string, sample int) (float32, bool) {
		r, ok := d.returns[shard][trajectory{prompt, sample}]
		return r, ok
	}
	return d
}

// add reads a file of trajectories of the run in dir; newest says that it belongs to those that
// the statistics are of.
func (d *Data) add(dir, name, folder string, newest bool) error {
	stamp, responses, err := run.Lines[batch.Response](filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if err := run.Stale(dir, name, stamp); err != nil {
		return err
	}
	scores := run.Scores(folder, name)
	file := filepath.Join(dir, scores)
	scored, lines, err := run.Lines[batch.Score](file)
	const hint = "run its ivo iterate again, or ivo score"
	if run.Absent(err) {
		return &fault.Error{Op: "train", Err: fmt.Errorf("%s is not scored by %s", filepath.Join(dir, name), folder), Hint: hint}
	}
	if err != nil {
		return err
	}
	if len(lines) != len(responses) || scored.From[name] != stamp.Key {
		return &fault.Error{Op: "train", Err: fmt.Errorf("%s was made from other responses than those in %s", file, name), Hint: hint}
	}
	content, err := run.Identify(file)
	if err != nil {
		return err
	}
	d.From[name], d.From[scores] = stamp.Key, content.XXHash
	shard := filepath.Join(dir, run.StatesOf(name))
	d.Shards = append(d.Shards, shard)
	d.returns[shard] = map[trajectory]float32{}
	for i, l := range lines {
		if l.Reward == nil {
			continue
		}
		d.returns[shard][trajectory{l.Prompt, l.Sample}] = float32(*l.Reward)
		d.lo, d.hi = min(d.lo, *l.Reward), max(d.hi, *l.Reward)
		if newest {
			d.Count++
			d.Mean, d.SD, d.Tokens = d.Mean+*l.Reward, d.SD+*l.Reward**l.Reward, d.Tokens+float64(responses[i].Emitted)
		}
	}
	return nil
}

// finish turns the sums into means.
func (d *Data) finish() {
	n := float64(max(1, d.Count))
	d.Mean, d.SD, d.Tokens = d.Mean/n, d.SD/n, d.Tokens/n
	d.SD = math.Sqrt(max(0, d.SD-d.Mean*d.Mean))
}

// Schema is what the states mean; all shards must agree with the first.
func (d *Data) Schema() (states.Schema, error) {
	r, err := states.Open(d.Shards[0])
	if err != nil {
		return states.Schema{}, fmt.Errorf("train: %w", err)
	}
	defer r.Close()
	return r.Schema(), nil
}

// Glob are the files of states that patterns name, each once.
func Glob(patterns []string) (shards []string, err error) {
	for _, pattern := range patterns {
		names, err := filepath.Glob(pattern)
		if err == nil && len(names) == 0 {
			err = errors.New("it names no file")
		}
		if err != nil {
			return nil, &fault.Error{Op: "train", Field: "states", Err: fmt.Errorf("%q: %w", pattern, err), Hint: "give {states} a file or a pattern such as 'RUN/iter-01/states/*.states'"}
		}
		for _, name := range names {
			if !slices.Contains(shards, name) {
				shards = append(shards, name)
			}
		}
	}
	return shards, nil
}
