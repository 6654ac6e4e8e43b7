package report_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// The page of an experiment that workers have drawn says who did what, and that it is mixed if it is; that of a lone one names nobody.
func TestEvaluationNamesWorkers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, run.ReportFile)
	page := func() string {
		t.Helper()
		if err := report.WriteEvaluation(path, results()); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if strings.Contains(page(), "Who drew it") {
		t.Error("a lone experiment names workers")
	}
	record := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, run.FleetFile), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	record(`{workers: [{name: desk-A1B2, cores: 8, cpu: "AVX2 <b>", build: b11434, offload: 3 layers on a GPU, shards: 7}], mixed: true, drawn: {answers/0a1b.jsonl: desk-A1B2}}`)
	text := page()
	for _, part := range []string{"Who drew it", "desk-A1B2", "AVX2 &lt;b&gt;", "3 layers on a GPU", "answers/0a1b.jsonl  desk-A1B2", "offload differ"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in it", part)
		}
	}
	record("workers: [")
	if err := report.WriteEvaluation(path, results()); err == nil || !strings.Contains(err.Error(), run.FleetFile) || !strings.Contains(err.Error(), "(remove it") {
		t.Errorf("the error is %v", err)
	}
}

// A fleet under way has a line for its stage and one for each worker, those that are there first, and one that says that it is mixed.
func TestFleetLines(t *testing.T) {
	worker := func(name, state string, doing ...string) fleet.Worker {
		return fleet.Worker{Member: fleet.Member{Name: name, Cores: 4, Shards: 12, Scored: 3}, State: state, Doing: doing, Rate: 9.96}
	}
	failed := worker("c", "works", "x", "y")
	failed.Failures = 2
	s := &fleet.Status{Done: 3, Total: 9, Scoring: 2, Left: 3725, Workers: []fleet.Worker{worker("a", "left"), worker("b", "waits"), failed, worker("d (the run's own)", "own")}}
	want := []string{
		"round 1: 3 of 9 shards, 2 files being scored, about 1h2m0s left",
		"  b                      4 cores  waits      12 shards     3 scored     10.0 tokens/s",
		"  c                      4 cores  works      12 shards     3 scored     10.0 tokens/s  x, y  (2 failed)",
		"  d (the run's own)      4 cores  own        12 shards     3 scored     10.0 tokens/s",
		"  a                      4 cores  left       12 shards     3 scored     10.0 tokens/s",
	}
	if diff := cmp.Diff(want, report.FleetLines(s, "round 1")); diff != "" {
		t.Error(diff)
	}
	s.Mixed = true
	if diff := cmp.Diff(append(want[1:], report.MixedFleet), report.FleetLines(s, "")); diff != "" {
		t.Error(diff)
	}
}

// What is stored of a fleet is a table, with a word on mixed ones.
func TestFleetTable(t *testing.T) {
	var out bytes.Buffer
	if err := report.FleetTable(&out, nil, false); err != nil || out.String() != "no worker has drawn anything\n" {
		t.Errorf("%v: %q", err, out.String())
	}
	out.Reset()
	members := []fleet.Member{{Name: "desk-A1B2", Cores: 8, Shards: 7, Tokens: 900, Seconds: 30, Build: "b11434", CPU: "NEON", Offload: "all layers on a GPU"}}
	if err := report.FleetTable(&out, members, true); err != nil {
		t.Fatal(err)
	}
	want := "worker     cores  shards  scored  tokens  tokens/s  failed  build   CPU   offload\n" +
		"desk-A1B2  8      7       0       900     30.0      0       b11434  NEON  all layers on a GPU\n\n" + report.MixedFleet + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}
