// Package report makes HTML pages: of the directory of a run of orchestrator/loop, finished
// or not, of the training of a value function, of a text with its values, and of a comparison
// of methods. A page needs
// nothing beside it: no scripts, no network, and its plots are inline SVG that takes its
// colours from the page.
//
// The package only shows what it is given; it decodes and trains nothing.
package report

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// File is the name of the report in a run directory.
const File = run.ReportFile

//go:embed *.html
var sources embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"choice": choice, "kept": kept, "num": num, "count": count, "percent": percent, "interval": interval,
	"rewards": rewards, "compute": compute, "learning": learning, "quality": quality, "reliability": reliability, "course": course,
	"divergence": divergence, "price": price, "parting": parting, "overoptimized": overoptimized, "mixed": func() string { return MixedFleet }, "parted": parted, "share": share,
}).ParseFS(sources, "*.html"))

// write creates or replaces the page at path.
func write(path, page string, data any) error {
	return atomicfile.Write(path, func(w io.Writer) error { return pages.ExecuteTemplate(w, page, data) })
}

// Write reads the run in dir and creates or replaces the report in it. What the run has
// not finished yet is missing in the page too; only a directory without a run, or with
// damaged files, is an error.
func Write(dir string) error {
	r, err := read(dir)
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, File), File, r)
}

// Render writes the page that Write would create.
func Render(w io.Writer, dir string) error {
	r, err := read(dir)
	if err != nil {
		return err
	}
	return pages.ExecuteTemplate(w, File, r)
}

// progress is what a run has written so far, as the template shows it.
type progress struct {
	Name    string
	Options *loop.Options
	YAML    string // of the options
	Rounds  []*learn.Metrics
	Methods []method          // none before the evaluation
	shards  int               // of trajectories, in the round under way
	prompts map[string]string // texts by id; nil where they are gone
	seed    uint64            // of the evaluation
	Fleet   *fleet.Record     // who drew it, nil where it was this machine alone
	// Second is the reward from which nothing was learned, if there is one, and Warnings what it shows.
	Second   string
	Warnings []string
}

func read(dir string) (*progress, error) {
	r := &progress{}
	var err error
	if r.Options, err = loop.ReadOptions(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no run to report on: %w (give the directory that a run was started in)", err)
	} else if err != nil {
		return nil, err
	}
	options, err := yaml.Marshal(r.Options)
	if err != nil {
		return nil, err
	}
	full, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	r.YAML, r.Name = string(options), filepath.Base(full)
	for round := 1; round <= r.Options.Rounds; round++ {
		m, err := written(run.Value[learn.Metrics](filepath.Join(dir, run.Metrics(round))))
		if err != nil {
			return nil, err
		}
		if m.Training == nil {
			names, err := run.TrajectoryFiles(dir, round)
			if err != nil {
				return nil, err
			}
			r.shards = len(names)
			break
		}
		r.Rounds = append(r.Rounds, m)
	}
	evaluation, err := written(loop.ReadEvaluation(dir))
	if err != nil {
		return nil, err
	}
	r.seed, r.Second, r.Warnings = evaluation.Seed, evaluation.Second, warnings(evaluation)
	for _, m := range evaluation.Methods {
		m.Answers, err = evaluation.ReadAnswers(dir, m.Method)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		r.Methods = append(r.Methods, describe(m, r.Options))
	}
	prompts, err := loop.Prompts(dir, run.EvalPromptsFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if r.Fleet, err = whoDrew(dir); err != nil {
		return nil, err
	}
	r.prompts = make(map[string]string, len(prompts))
	for _, p := range prompts {
		r.prompts[p.ID] = p.Show()
	}
	return r, nil
}

// written makes a zero value of a file that the run has not written yet.
func written[T any](v *T, err error) (*T, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return new(T), nil
	}
	return v, err
}

// Kinds of methods, which are also the classes of their marks in the page.
const (
	alone  = "alone"  // the model without a value function
	ranked = "ranked" // whole answers ranked by it
	guided = "guided" // decoding guided by it
	tuned  = "tuned"  // the model itself trained
)

// method is how a method did, and what it is.
type method struct {
	eval.Result
	Kind, Note string
}
