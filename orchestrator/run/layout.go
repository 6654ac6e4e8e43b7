package run

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Names of a run's files, below its directory and with slashes.
const (
	OptionsFile     = "run.yaml"
	PromptsFile     = "prompts.jsonl.zst"
	EvalPromptsFile = "eval-prompts.jsonl.zst"
	EvaluationFile  = "eval.json"
	ReportFile      = "report.html"

	// ExperimentDir is the folder of answers of an experiment, which is a directory with another layout.
	ExperimentDir = "answers"

	// FleetDir is where a fleet that draws shards keeps what is under way, until the run is finished, and
	// FleetFile says who drew what.
	FleetDir  = ".fleet"
	FleetFile = "fleet.yaml"

	ledgerFile = "ledger.json"
	lockFile   = ".lock"
	rewardsDir = "rewards"
	evalDir    = "eval"
)

// Shard is a number of consecutive prompts that are decoded together, and of each the samples
// from one number on: more samples are another shard of the same prompts.
type Shard struct {
	Index int // of the prompts
	First int // sample
}

func (s Shard) String() string {
	if s.First > 0 {
		return fmt.Sprintf("%04d+%d", s.Index, s.First)
	}
	return fmt.Sprintf("%04d", s.Index)
}

func iter(round int) string { return fmt.Sprintf("iter-%02d", round) }

// Trajectories names the responses of a shard that were collected in a round, from 1 on, and
// States the states they went through.
func Trajectories(round int, s Shard) string {
	return path.Join(iter(round), "trajectories", s.String()+".jsonl.zst")
}

func States(round int, s Shard) string { return path.Join(iter(round), "states", s.String()+".states") }

// StatesOf names the states that belong to a file of trajectories.
func StatesOf(trajectories string) string {
	dir, base := path.Split(trajectories)
	return path.Join(path.Dir(path.Clean(dir)), "states", strings.TrimSuffix(base, ".jsonl.zst")+".states")
}

// Head names the value function of a round, Metrics what is known of it.
func Head(round int) string    { return path.Join(iter(round), "head.gguf") }
func Metrics(round int) string { return path.Join(iter(round), "metrics.json") }

// Answers names a method's answers to a shard of the evaluation prompts. An asterisk in a file's
// name would be trouble in a shell.
func Answers(method string, shard int) string {
	return path.Join(evalDir, strings.ReplaceAll(method, "*", "-star"), fmt.Sprintf("%04d.jsonl", shard))
}

// Scores names what a reward says of a file of responses.
func Scores(reward, responses string) string {
	name := strings.Replace(responses, "/trajectories/", "/", 1)
	return path.Join(rewardsDir, reward, strings.TrimSuffix(name, ".zst"))
}

// Rescored names the value function that was learned from the stored states by another reward
// than the run's, and RescoredMetrics what is known of it.
func Rescored(reward string) string        { return path.Join(rewardsDir, reward, "head.gguf") }
func RescoredMetrics(reward string) string { return path.Join(rewardsDir, reward, "metrics.json") }

// RewardFolder is the name under which a run keeps what a reward says: readable, and different
// for rewards of different fingerprints.
func RewardFolder(name, fingerprint string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '_':
			return r
		}
		return '-'
	}, name)
	clean = strings.Trim(clean[:min(len(clean), 40)], "-.")
	return clean + "-" + Key(name, fingerprint)[:8]
}

// Rounds are the rounds, from 1 on, that a run has begun.
func Rounds(dir string) (rounds []int) {
	names, _ := filepath.Glob(filepath.Join(dir, "iter-*"))
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), "iter-%02d", &n); err == nil && filepath.Base(name) == iter(n) {
			rounds = append(rounds, n)
		}
	}
	slices.Sort(rounds)
	return rounds
}

// TrajectoryFiles names the files of trajectories that a round has, by shard.
func TrajectoryFiles(dir string, round int) ([]string, error) {
	folder := path.Join(iter(round), "trajectories")
	names, err := list(dir, folder)
	var shards []Shard
	for _, name := range names {
		if s, ok := parseShard(strings.TrimSuffix(name, ".jsonl.zst")); ok && s.String()+".jsonl.zst" == name {
			shards = append(shards, s)
		}
	}
	slices.SortFunc(shards, func(a, b Shard) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.First, b.First))
	})
	names = nil
	for _, s := range shards {
		names = append(names, Trajectories(round, s))
	}
	return names, err
}

func parseShard(name string) (s Shard, ok bool) {
	index, first, more := strings.Cut(name, "+")
	s.Index, _ = strconv.Atoi(index)
	if more {
		s.First, _ = strconv.Atoi(first)
	}
	return s, s.String() == name
}

// RewardFolders names the rewards that have been asked about the run, as [RewardFolder] does.
func RewardFolders(dir string) ([]string, error) { return list(dir, rewardsDir) }

// Made names the files of responses that a run or an experiment has, and those of scores and verdicts. What is no folder has none.
func Made(dir string) (responses, scores []string, err error) {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, nil, nil
	}
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && name != "." && strings.HasPrefix(e.Name(), "."):
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(strings.TrimSuffix(name, ".zst"), ".jsonl"):
			return nil
		}
		in := strings.Split(path.Dir(name), "/")
		switch {
		case slices.ContainsFunc(in, func(folder string) bool { return slices.Contains(scoreDirs, folder) }):
			scores = append(scores, name)
		case slices.ContainsFunc(in, func(folder string) bool { return slices.Contains(responseDirs, folder) }):
			responses = append(responses, name)
		}
		return nil
	})
	return responses, scores, err
}

// scoreDirs are the folders of files of scores and verdicts.
var scoreDirs = []string{rewardsDir, "judged"}

// responseDirs are the folders of files of responses.
var responseDirs = []string{"trajectories", evalDir, ExperimentDir, "ceiling"}

// list names what a folder of a run holds.
func list(dir, folder string) (names []string, err error) {
	entries, err := os.ReadDir(filepath.Join(dir, filepath.FromSlash(folder)))
	if Absent(err) {
		return nil, nil
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names, err
}
