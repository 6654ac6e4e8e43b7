package fleet

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Forgotten is who has done what was finished shortly before a run's machine was killed, and was not written down yet.
const Forgotten = "not known"

// Record says who drew a run: the content of fleet.yaml.
type Record struct {
	Workers []Member          `yaml:"workers"`
	Mixed   bool              `yaml:"mixed"` // builds, kinds of CPU or what is offloaded differ: results are those of equal ones only up to rounding
	Drawn   map[string]string `yaml:"drawn"` // files of the run, and who drew or scored them
}

// Member is a worker of a record.
type Member struct {
	Name     string  `yaml:"name" json:"name"`
	Host     string  `yaml:"host" json:"host"`
	Cores    int     `yaml:"cores" json:"cores"`
	CPU      string  `yaml:"cpu" json:"cpu"`
	Build    string  `yaml:"build" json:"build"`
	Offload  string  `yaml:"offload,omitempty" json:"offload,omitempty"`
	Version  string  `yaml:"version" json:"version"`
	Shards   int     `yaml:"shards" json:"shards"`
	Scored   int     `yaml:"scored" json:"scored"` // files of responses
	Tokens   int64   `yaml:"tokens" json:"tokens"` // decoded
	Seconds  float64 `yaml:"seconds" json:"seconds"`
	Failures int     `yaml:"failures" json:"failures"`
}

// Rate is the number of tokens that it decoded a second of its work.
func (m Member) Rate() float64 {
	if m.Seconds == 0 {
		return 0
	}
	return float64(m.Tokens) / m.Seconds
}

// record is what is kept of a worker.
func (m *member) record() Member {
	return Member{
		Name: m.Called(), Host: m.Host, Cores: m.Cores, CPU: m.CPU, Build: m.Build, Offload: m.Offload, Version: m.Version,
		Shards: m.shards, Scored: m.scored, Tokens: m.tokens, Seconds: m.seconds, Failures: m.failures,
	}
}

// ReadRecord reads who drew the run in dir.
func ReadRecord(dir string) (*Record, error) {
	data, err := os.ReadFile(filepath.Join(dir, run.FleetFile))
	if err != nil {
		return nil, err
	}
	r := &Record{}
	return r, yaml.Unmarshal(data, r)
}

// add adds a worker, or the run's own machine, which has one line however often the run went on with it as it is.
func (r *Record) add(m Member) {
	for i, o := range r.Workers {
		if o.Name == m.Name && kind(o.Build, o.CPU, o.Offload) == kind(m.Build, m.CPU, m.Offload) {
			m.Shards, m.Scored, m.Tokens, m.Seconds, m.Failures = m.Shards+o.Shards, m.Scored+o.Scored, m.Tokens+o.Tokens, m.Seconds+o.Seconds, m.Failures+o.Failures
			r.Workers[i] = m
			return
		}
	}
	r.Workers = append(r.Workers, m)
}

// record is who did what so far; the mutex is held.
func (c *crew) record() *Record {
	r := &Record{Workers: slices.Clone(c.old), Drawn: c.drawn}
	for _, m := range append(slices.Collect(maps.Values(c.members)), c.own) {
		if m.shards > 0 || m.scored > 0 || m.failures > 0 {
			r.add(m.record())
		}
	}
	slices.SortFunc(r.Workers, func(a, b Member) int { return cmp.Compare(a.Name, b.Name) })
	kinds := map[string]bool{}
	for _, m := range r.Workers {
		if (m.Shards > 0 || m.Scored > 0) && m.Name != Forgotten {
			kinds[kind(m.Build, m.CPU, m.Offload)] = true
		}
	}
	r.Mixed = len(kinds) > 1
	return r
}

// save writes who did what, if anybody did anything.
func (c *crew) save() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty {
		return nil
	}
	begun := time.Now()
	data, err := yaml.Marshal(c.record())
	if err == nil {
		err = atomicfile.WriteBytes(filepath.Join(c.dir, run.FleetFile), data)
	}
	if err == nil {
		c.dirty, c.saved, c.took = false, time.Now(), time.Since(begun)
	}
	return err
}
