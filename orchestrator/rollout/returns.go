package rollout

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/valuehead"
)

// Returns are the rewards in the trajectories beside shards of states, in the folders of a
// run: nil where there are none, as the first shards hold their rewards themselves.
func Returns(shards []string) (valuehead.Returns, error) {
	type response struct {
		shard, prompt string
		sample        int
	}
	rewards := map[response]float32{}
	for _, shard := range shards {
		name := strings.TrimSuffix(filepath.Base(shard), ".states") + ".jsonl.zst"
		ts, err := ReadTrajectories(filepath.Join(filepath.Dir(shard), "..", "trajectories", name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, t := range ts {
			rewards[response{shard, t.Prompt, t.Sample}] = float32(t.Reward)
		}
	}
	if len(rewards) == 0 {
		return nil, nil
	}
	return func(shard, prompt string, sample int) (float32, bool) {
		v, ok := rewards[response{shard, prompt, sample}]
		return v, ok
	}, nil
}
