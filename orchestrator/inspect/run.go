package inspect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Run describes a run directory, finished or not.
type Run struct {
	Kind       string           `json:"kind"`
	Options    map[string]any   `json:"options"` // run.yaml
	Rounds     []Round          `json:"rounds"`
	Evaluation *loop.Evaluation `json:"evaluation,omitempty"`
	Rewards    []Reward         `json:"rewards"`          // that have been asked about its responses
	Faults     []string         `json:"faults,omitempty"` // files that are damaged, or were made from something else than there is now
	options    *loop.Options
}

// Reward is what the run keeps of a reward.
type Reward struct {
	Scores string `json:"scores"`         // the folder's name
	Own    bool   `json:"own"`            // it is the run's
	Head   string `json:"head,omitempty"` // value function that was learned from it by ivo score
}

// Round is how far a round is.
type Round struct {
	Round   int            `json:"round"`
	Shards  int            `json:"shards"`            // finished
	Of      int            `json:"of,omitempty"`      // shards in all, when it is complete
	Metrics *learn.Metrics `json:"metrics,omitempty"` // of a round that is complete
}

func findRun(dir string) (Finding, error) {
	o, err := loop.ReadOptions(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("inspect: %s is not a run directory (name a file, or the directory of a run of ivo iterate)", dir)
	}
	if err != nil {
		return nil, err
	}
	f := &Run{Kind: "run", options: o}
	text, err := yaml.Marshal(o)
	if err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(text, &f.Options); err != nil {
		return nil, err
	}
	for _, round := range run.Rounds(dir) {
		if round > o.Rounds {
			break // kept from when the run had more
		}
		names, err := run.TrajectoryFiles(dir, round)
		if err != nil {
			return nil, err
		}
		r := Round{Round: round, Shards: len(names), Of: o.Shards(dir, round)}
		if r.Metrics, err = absent(run.Value[learn.Metrics](filepath.Join(dir, run.Metrics(round)))); err != nil {
			return nil, err
		}
		f.Rounds = append(f.Rounds, r)
	}
	folders, err := run.RewardFolders(dir)
	if err != nil {
		return nil, err
	}
	for _, folder := range folders {
		r := Reward{Scores: folder, Own: folder == o.Inputs.Scores}
		if _, err := os.Stat(filepath.Join(dir, run.Rescored(folder))); err == nil {
			r.Head = filepath.Join(dir, run.Rescored(folder))
		}
		f.Rewards = append(f.Rewards, r)
	}
	for _, err := range run.Faults(dir) {
		f.Faults = append(f.Faults, err.Error())
	}
	f.Evaluation, err = absent(loop.ReadEvaluation(dir))
	return f, err
}

// absent makes a file that is not there yet no error.
func absent[T any](v *T, err error) (*T, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return v, err
}

func evaluatedOn(o *loop.Options) string {
	switch {
	case o.EvalPrompts != "":
		return o.EvalPrompts
	case o.HoldOut > 0:
		return fmt.Sprintf("%d of the prompts, held out", o.HoldOut)
	}
	return "nothing"
}

func (f *Run) Write(w io.Writer) error {
	o := f.options
	err := sheet.Sheet{
		{"run", fmt.Sprintf("%d rounds, %d samples a prompt, reward %s, seed %d", o.Rounds, o.Samples, o.Reward, o.Seed)},
		{"model", o.Model},
		{"prompts", o.Prompts},
		{"evaluated on", evaluatedOn(o)},
		{"sampling", fmt.Sprintf("T=%g, at most %d tokens", o.Sampling.Temp, o.MaxTokens)},
		{"search", fmt.Sprintf("%d beams, blocks of %d; collection with %d", o.Search.Beams, o.Search.Block, o.Collect.Beams)},
		{"value function", fmt.Sprintf("%s, layers %v", o.Head.Kind, o.Layers)},
	}.Write(w)
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "round\tshards\ttrajectories\treward\tsd\ttokens\theld-out R2\tSpearman\tECE\t")
	for _, r := range f.Rounds {
		shards := fmt.Sprint(r.Shards)
		if r.Of > 0 {
			shards += fmt.Sprintf("/%d", r.Of)
		}
		fmt.Fprintf(t, "%d\t%s\t", r.Round, shards)
		if m := r.Metrics; m != nil && m.Training != nil {
			all := m.Training.HeldOut.All
			fmt.Fprintf(t, "%d\t%.2f\t%.2f\t%.1f\t%.3f\t%.3f\t%.3f\t", m.Trajectories, m.Reward.Mean, m.Reward.SD, m.Tokens, all.R2, all.Spearman, all.ECE)
		} else {
			fmt.Fprint(t, "-\t-\t-\t-\t-\t-\t-\t")
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	var other sheet.Sheet
	for _, r := range f.Rewards {
		if r.Head != "" {
			other = append(other, sheet.Property{"also scored by " + r.Scores, r.Head})
		}
	}
	for _, fault := range f.Faults {
		other = append(other, sheet.Property{"not as it should be", fault})
	}
	if len(other) > 0 {
		fmt.Fprintln(w)
		if err := other.Write(w); err != nil {
			return err
		}
	}
	if f.Evaluation == nil {
		return nil
	}
	fmt.Fprintln(w)
	return report.EvaluationTable(w, f.Evaluation)
}
