package loop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// ReadMetrics reads the metrics of a finished round, counted from 1, of the run in dir.
func ReadMetrics(dir string, round int) (*Metrics, error) {
	return readJSON[Metrics](filepath.Join(dir, path(round, "metrics.json")))
}

// ReadEvaluation reads the evaluation of the finished run in dir, without its answers.
func ReadEvaluation(dir string) (*Evaluation, error) {
	return readJSON[Evaluation](filepath.Join(dir, EvalFile))
}

// Shards is the number of finished shards of trajectories of a round, counted from 1.
func (m *Manifest) Shards(round int) int {
	n := 0
	for name := range m.Complete {
		if strings.HasPrefix(name, path(round, "trajectories")+string(filepath.Separator)) {
			n++
		}
	}
	return n
}

// StateShards are the finished shards of states of a round, counted from 1, below the run
// directory.
func (m *Manifest) StateShards(round int) (names []string) {
	for name := range m.Complete {
		if strings.HasPrefix(name, path(round, "states")+string(filepath.Separator)) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func readJSON[T any](name string) (*T, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(data, v); err != nil {
		return nil, fmt.Errorf("%s: damaged: %w (delete the file; the run makes it again)", name, err)
	}
	return v, nil
}
