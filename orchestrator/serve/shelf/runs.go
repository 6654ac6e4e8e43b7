package shelf

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Run is what there is to say of a run or an experiment.
type Run struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Kind    Kind      `json:"kind"`
	Changed time.Time `json:"changed"`
	Model   string    `json:"model,omitempty"`
	Reward  string    `json:"reward,omitempty"`
	Second  string    `json:"second_reward,omitempty"` // from which nothing is learned
	Rounds  int       `json:"rounds,omitempty"`        // that a run is to have
	Learned []Learned `json:"learned"`                 // a value function a round
	Methods []Method  `json:"methods"`                 // of the evaluation
	Report  bool      `json:"report"`                  // there is one
	Damaged bool      `json:"damaged,omitempty"`       // what cannot be read is left out
}

// Learned is what a round's value function was learned from, and how well it predicts rewards that it
// has not seen.
type Learned struct {
	Head         string       `json:"head"`
	Trajectories int          `json:"trajectories"`
	Reward       number.Float `json:"reward"` // the mean over these
	R2           number.Float `json:"r2"`
	Spearman     number.Float `json:"spearman"`
}

// Method is what a way of answering gave on the evaluation's prompts.
type Method struct {
	Name   string        `json:"name"`
	Reward eval.Interval `json:"reward"`
	KL     number.Float  `json:"kl"` // from the base policy, nats an answer
	KLKind decode.KLKind `json:"kl_kind"`
}

// Runs tells of all runs and experiments, the last one that was changed first.
func (s *Shelf) Runs() ([]Run, error) {
	all, err := s.places()
	out := []Run{}
	for _, p := range all {
		r := Run{ID: p.id, Name: p.name, Kind: p.kind, Learned: []Learned{}, Methods: []Method{}}
		tell := r.run
		if p.kind == KindExperiment {
			tell = r.experiment
		}
		if err := tell(p.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			r.Damaged, r.Report = true, false
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Run) int { return cmp.Or(b.Changed.Compare(a.Changed), cmp.Compare(a.Name, b.Name)) })
	return out, err
}

// at notes when a file of the run was written.
func (r *Run) at(path string) {
	if st, err := os.Stat(path); err == nil && st.ModTime().After(r.Changed) {
		r.Changed = st.ModTime().UTC().Truncate(time.Second)
	}
}

func (r *Run) run(dir string) error {
	r.at(filepath.Join(dir, run.OptionsFile))
	o, err := loop.ReadOptions(dir)
	if err != nil {
		return err
	}
	r.Model, r.Reward, r.Second, r.Rounds, r.Report = filepath.Base(o.Model), o.Reward, o.SecondReward, o.Rounds, true
	for round := 1; round <= o.Rounds; round++ {
		path := filepath.Join(dir, run.Metrics(round))
		m, err := run.Value[learn.Metrics](path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && m.Training == nil {
			break
		}
		if err != nil {
			return err
		}
		r.at(path)
		all := m.Training.HeldOut.All
		r.Learned = append(r.Learned, Learned{m.Head, m.Trajectories, number.Float(m.Reward.Mean), number.Float(all.R2), number.Float(all.Spearman)})
	}
	e, err := loop.ReadEvaluation(dir)
	if err != nil {
		return err
	}
	r.at(filepath.Join(dir, run.EvaluationFile))
	for _, m := range e.Methods {
		r.Methods = append(r.Methods, Method{m.Method, m.Reward, number.Float(m.KL.Mean), m.KLKind})
	}
	return nil
}

func (r *Run) experiment(dir string) error {
	path := filepath.Join(dir, experiment.EvaluationFile)
	e, err := run.Value[experiment.Evaluation](path)
	if err != nil {
		return err
	}
	r.at(path)
	var models []string
	for _, m := range e.Models {
		models = append(models, filepath.Base(m.File))
	}
	r.Model, r.Reward = strings.Join(models, ", "), e.Reward
	for _, m := range e.Rows {
		name := m.Method
		if m.Model != "" {
			name = m.Model + ": " + name
		}
		r.Methods = append(r.Methods, Method{name, m.Reward, number.Float(m.KL.Mean), m.KLKind})
	}
	_, err = os.Stat(filepath.Join(dir, experiment.ReportFile))
	r.Report = err == nil
	return nil
}
