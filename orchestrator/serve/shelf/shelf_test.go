package shelf_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/orchestrator/serve/shelf"
	"github.com/ivo-decoding/ivo/valuehead"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var interval = eval.Interval{Mean: 0.5, Lo: 0.4, Hi: 0.6}

// learned writes a run of two rounds of which one is finished, and an evaluation.
func learned(t *testing.T, dir string) {
	t.Helper()
	o := loop.Defaults(4)
	o.Model, o.Prompts, o.Reward, o.Rounds = "models/lab.gguf", "train.jsonl", "sentiment", 2
	o.Inputs.SampleFrom = []int{0}
	options, err := yaml.Marshal(o)
	must(t, err)
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, run.OptionsFile), options, 0o644))
	d, err := run.Open(dir)
	must(t, err)
	defer d.Close()
	records := []prompt.Record{{ID: "a", Text: "once"}, {ID: "b", Messages: []llama.Message{{Role: "user", Content: "hi"}}}}
	must(t, run.PutLines(d, run.PromptsFile, "k", nil, nil, records))
	report := &valuehead.Report{}
	report.HeldOut.All = valuehead.Score{R2: 0.25, Spearman: 0.5}
	must(t, run.Put(d, run.Metrics(1), "k", nil, nil, &learn.Metrics{Round: 1, Trajectories: 40, Reward: learn.MeanSD{Mean: 0.1}, Head: "linear", Training: report}))
	must(t, run.Put(d, run.EvaluationFile, "k", nil, nil, &loop.Evaluation{Reward: "sentiment", Methods: []eval.Result{{Method: "base", Reward: interval}, {Method: "ivo", Reward: interval, KL: interval, KLKind: "bound"}}}))
}

// compared writes an experiment with a report.
func compared(t *testing.T, dir string) {
	t.Helper()
	d, err := run.Open(dir)
	must(t, err)
	defer d.Close()
	must(t, os.MkdirAll(filepath.Join(dir, run.ExperimentDir), 0o755))
	must(t, run.Put(d, experiment.EvaluationFile, "k", nil, nil, &experiment.Evaluation{Reward: "gold", Models: []experiment.Model{{File: "models/lab.gguf"}}, Rows: []experiment.Row{{Method: "greedy", Reward: interval, KL: interval, KLKind: "exact"}}}))
	must(t, os.WriteFile(filepath.Join(dir, experiment.ReportFile), []byte("<p>compared"), 0o644))
}

func TestShelf(t *testing.T) {
	folder := t.TempDir()
	learned(t, filepath.Join(folder, "lab", "one"))
	compared(t, filepath.Join(folder, "two"))
	must(t, os.MkdirAll(filepath.Join(folder, "damaged"), 0o755))
	must(t, os.WriteFile(filepath.Join(folder, "damaged", run.OptionsFile), []byte("rounds: many"), 0o644))
	learned(t, filepath.Join(folder, "1", "2", "3", "4", "too-deep"))
	learned(t, filepath.Join(folder, ".hidden"))
	// What leads out of the folder is not there: neither a run nor a file of one.
	outside := filepath.Join(t.TempDir(), "outside")
	learned(t, outside)
	must(t, os.Symlink(outside, filepath.Join(folder, "link")))
	learned(t, filepath.Join(folder, "with-link"))
	must(t, os.Symlink("/etc/passwd", filepath.Join(folder, "with-link", "iter-01", "x")))
	compared(t, filepath.Join(folder, "report-elsewhere"))
	must(t, os.Remove(filepath.Join(folder, "report-elsewhere", experiment.ReportFile)))
	must(t, os.Symlink("/etc/passwd", filepath.Join(folder, "report-elsewhere", experiment.ReportFile)))

	named := filepath.Join(t.TempDir(), "mine.jsonl")
	must(t, os.WriteFile(named, []byte(`{"prompt": "a text"}`), 0o644))
	s, err := shelf.Open(folder, named)
	must(t, err)
	runs, err := s.Runs()
	must(t, err)
	want := []shelf.Run{
		{Name: "damaged", Kind: shelf.KindRun, Learned: []shelf.Learned{}, Methods: []shelf.Method{}, Damaged: true},
		{Name: "lab/one", Kind: shelf.KindRun, Model: "lab.gguf", Reward: "sentiment", Rounds: 2, Report: true,
			Learned: []shelf.Learned{{Head: "linear", Trajectories: 40, Reward: 0.1, R2: 0.25, Spearman: 0.5}},
			Methods: []shelf.Method{{Name: "base", Reward: interval}, {Name: "ivo", Reward: interval, KL: 0.5, KLKind: "bound"}}},
		{Name: "two", Kind: shelf.KindExperiment, Model: "lab.gguf", Reward: "gold", Report: true, Learned: []shelf.Learned{},
			Methods: []shelf.Method{{Name: "greedy", Reward: interval, KL: 0.5, KLKind: "exact"}}},
	}
	byName := cmpopts.SortSlices(func(a, b shelf.Run) bool { return a.Name < b.Name })
	if diff := cmp.Diff(want, runs, byName, cmpopts.IgnoreFields(shelf.Run{}, "ID", "Changed")); diff != "" {
		t.Errorf("runs (-want +got): %s", diff)
	}
	for _, r := range runs {
		if r.Changed.Before(time.Now().Add(-time.Hour)) && r.Name != "damaged" {
			t.Errorf("%s was changed %v", r.Name, r.Changed)
		}
		page, err := s.Report(r.ID)
		if r.Report != (err == nil) || r.Report && !strings.Contains(string(page), map[string]string{"lab/one": "sentiment", "two": "<p>compared"}[r.Name]) {
			t.Errorf("%s: the report is %.100q (%v)", r.Name, page, err)
		}
	}

	lists, err := s.Prompts()
	must(t, err)
	got := map[string][]llama.Message{}
	for _, l := range lists {
		records, err := s.Records(l.ID)
		must(t, err)
		for _, r := range records {
			got[l.Name] = append(got[l.Name], shelf.Conversation(r)...)
		}
	}
	said := func(texts ...string) (out []llama.Message) {
		for _, text := range texts {
			out = append(out, llama.Message{Role: "user", Content: text})
		}
		return out
	}
	if diff := cmp.Diff(map[string][]llama.Message{"mine.jsonl": said("a text"), "lab/one, learned from": said("once", "hi")}, got); diff != "" {
		t.Errorf("prompts (-want +got): %s", diff)
	}

	for _, id := range []string{"", ".", "..", "lab/one", "../outside", outside, "link", named, lists[0].ID} {
		if _, err := s.Report(id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a report is called %q: %v", id, err)
		}
	}
	for _, id := range []string{"", named, "mine.jsonl", runs[0].ID} {
		if _, err := s.Records(id); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("prompts are called %q: %v", id, err)
		}
	}
}

// The folder may be a run itself; an empty shelf is empty; what is not there is told at once.
func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "alone")
	learned(t, dir)
	s, err := shelf.Open(dir)
	must(t, err)
	if runs, err := s.Runs(); err != nil || len(runs) != 1 || runs[0].Name != "alone" {
		t.Errorf("%v, %v", runs, err)
	}
	if runs, err := new(shelf.Shelf).Runs(); err != nil || runs == nil || len(runs) != 0 {
		t.Errorf("%v, %v", runs, err)
	}
	for _, c := range []struct{ folder, prompts string }{{folder: filepath.Join(dir, "none")}, {folder: filepath.Join(dir, run.OptionsFile)}, {prompts: filepath.Join(dir, "none")}, {prompts: filepath.Join(dir, run.OptionsFile)}} {
		var prompts []string
		if c.prompts != "" {
			prompts = append(prompts, c.prompts)
		}
		if _, err := shelf.Open(c.folder, prompts...); err == nil {
			t.Errorf("%+v is opened", c)
		}
	}
}
