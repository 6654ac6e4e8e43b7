package run_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/run"
)

type line struct {
	A int    `json:"a"`
	B string `json:"b"`
}

func open(t *testing.T, path string) *run.Dir {
	t.Helper()
	d, err := run.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func done(t *testing.T, d *run.Dir, name, key string) bool {
	t.Helper()
	ok, err := d.Done(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// A file counts as finished if it is whole and was made from what is asked for, whatever has
// become of the ledger.
func TestDone(t *testing.T) {
	name, states := run.Trajectories(1, run.Shard{Index: 3}), run.States(1, run.Shard{Index: 3})
	if run.StatesOf(name) != states {
		t.Fatal(run.StatesOf(name), states)
	}
	lines := []line{{1, "<x>"}, {2, "y"}}
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, dir string)
		done   bool
	}{
		{"untouched", func(*testing.T, string) {}, true},
		{"no ledger", func(t *testing.T, dir string) { remove(t, dir, "ledger.json") }, true},
		{"damaged ledger", func(t *testing.T, dir string) { write(t, dir, "ledger.json", "{") }, true},
		{"a ledger of another version", func(t *testing.T, dir string) { write(t, dir, "ledger.json", `{"version":1,"complete":{}}`) }, true},
		{"a ledger that is out of date", func(t *testing.T, dir string) {
			write(t, dir, "ledger.json", `{"version":2,"entries":{"`+name+`":{"key":"k","files":{"`+name+`":{"bytes":1,"xxhash64":"0"}}}}}`)
		}, true},
		{"no file", func(t *testing.T, dir string) { remove(t, dir, name) }, false},
		{"a file cut short", func(t *testing.T, dir string) { cut(t, dir, name) }, false},
		{"no states", func(t *testing.T, dir string) { remove(t, dir, states) }, false},
		{"other states", func(t *testing.T, dir string) { write(t, dir, states, "other") }, false},
		{"other states and no ledger", func(t *testing.T, dir string) { write(t, dir, states, "other"); remove(t, dir, "ledger.json") }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			d := open(t, dir)
			if done(t, d, name, "k") {
				t.Fatal("a file that is not there is done")
			}
			if err := d.Make(states); err != nil {
				t.Fatal(err)
			}
			write(t, dir, states, "states")
			write(t, dir, run.OptionsFile, "rounds: 1\n")
			if err := run.PutLines(d, name, "k", nil, []string{states}, lines); err != nil {
				t.Fatal(err)
			}
			d.Close()
			tc.change(t, dir)
			d = open(t, dir)
			if done(t, d, name, "other") {
				t.Error("a file that was made from something else is done")
			}
			if got := done(t, d, name, "k"); got != tc.done {
				t.Errorf("done: %v", got)
			}
			if !tc.done {
				return
			}
			s, got, err := run.Lines[line](d.Path(name))
			if err != nil || !cmp.Equal(got, lines) || s.Key != "k" {
				t.Errorf("read %v, %v, %v", s, got, err)
			}
			d.Close()
			if !done(t, open(t, dir), name, "k") { // by the ledger, which is right again
				t.Error("not done the second time")
			}
		})
	}
}

type value struct {
	run.Stamp
	N int `json:"n"`
}

func TestValue(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "run"))
	v := &value{N: 7}
	if err := run.Put(d, run.Metrics(2), "k", map[string]string{"a": "b"}, nil, v); err != nil {
		t.Fatal(err)
	}
	got, err := run.Value[value](d.Path(run.Metrics(2)))
	if err != nil || got.N != 7 || got.Key != "k" || got.From["a"] != "b" {
		t.Errorf("read %+v, %v", got, err)
	}
	if !done(t, d, run.Metrics(2), "k") || done(t, d, run.Metrics(2), "l") {
		t.Error("not done by its key, or done by another")
	}
}

// A file of which a bit is not as it was written, or the end of which is missing, is not
// finished, whatever the ledger says or if there is none.
func TestDamage(t *testing.T) {
	lines := []line{{1, "x"}, {2, "yy"}}
	const key = "k"
	for name, write := range map[string]func(d *run.Dir, name string) error{
		"eval/base/0000.jsonl": func(d *run.Dir, name string) error {
			return run.PutLines(d, name, key, map[string]string{"a": "b"}, nil, lines)
		},
		"prompts.jsonl.zst": func(d *run.Dir, name string) error { return run.PutLines(d, name, key, nil, nil, lines) },
		"eval.json": func(d *run.Dir, name string) error {
			return run.Put(d, name, key, map[string]string{"a": "b"}, nil, &value{N: 7})
		},
	} {
		dir := filepath.Join(t.TempDir(), "run")
		d := open(t, dir)
		if err := write(d, name); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, data []byte) {
			t.Helper()
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			if !done(t, d, name, key) {
				return
			}
			// Bits of the compression that mean nothing are no damage.
			if _, got, err := run.Lines[line](path); !strings.HasSuffix(name, ".zst") || err != nil || !cmp.Equal(got, lines) {
				t.Errorf("%s is done with %s", name, what)
			}
		}
		for i := range whole {
			check(fmt.Sprintf("%d bytes", i), whole[:i])
			data := slices.Clone(whole)
			data[i] ^= 1 << (i % 8)
			check(fmt.Sprintf("a bit of byte %d flipped", i), data)
		}
		check("more bytes", append(slices.Clone(whole), '{', '}', '\n'))
	}
}

// What a ledger does not list is not finished.
func TestLedgerWithoutFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, run.OptionsFile, "rounds: 1\n")
	write(t, dir, "ledger.json", `{"version":2,"entries":{"eval.json":{"key":"k","fi1es":{}}}}`)
	if done(t, open(t, dir), "eval.json", "k") {
		t.Error("a file that is not there is done")
	}
}

// A second process is kept out; a folder that holds something else is left alone.
func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	d := open(t, dir)
	if _, err := run.Open(dir); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("opened twice: %v", err)
	}
	d.Close()
	open(t, dir).Close()
	other := t.TempDir()
	write(t, other, "thesis.txt", "words")
	if _, err := run.Open(other); err == nil || !strings.Contains(err.Error(), "holds no run") {
		t.Errorf("opened a folder of something else: %v", err)
	}
	if _, err := os.Stat(filepath.Join(other, ".lock")); err == nil {
		t.Error("a lock was put into it")
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	want := []string{}
	for _, s := range []run.Shard{{0, 0}, {0, 4}, {0, 12}, {1, 0}, {10, 0}, {12345, 0}} {
		name := run.Trajectories(1, s)
		want = append(want, name)
		write(t, dir, name, "")
	}
	write(t, dir, "iter-01/trajectories/notes.txt", "")
	write(t, dir, "iter-02/head.gguf", "")
	got, err := run.TrajectoryFiles(dir, 1)
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	if got := run.Rounds(dir); !slices.Equal(got, []int{1, 2}) {
		t.Errorf("rounds %v", got)
	}
	if got := run.Scores("gold-0", run.Trajectories(1, run.Shard{Index: 2, First: 4})); got != "rewards/gold-0/iter-01/0002+4.jsonl" {
		t.Error(got)
	}
	if got := run.Scores("gold-0", run.Answers("ivo*", 2)); got != "rewards/gold-0/eval/ivo-star/0002.jsonl" {
		t.Error(got)
	}
	a, b := run.RewardFolder("cmd:python3 score.py", "1"), run.RewardFolder("cmd:python3 score.py", "2")
	if a == b || !strings.HasPrefix(a, "cmd-python3-score.py-") || strings.ContainsAny(a, "/ :") {
		t.Error(a, b)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func cut(t *testing.T, dir, name string) {
	t.Helper()
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data[:len(data)-5], 0o644); err != nil {
		t.Fatal(err)
	}
}

// A run and an experiment are not written over each other.
func TestExpect(t *testing.T) {
	empty, ran, experiment := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(ran, run.OptionsFile), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(experiment, run.ExperimentDir), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		dir        string
		experiment bool
		want       string
	}{
		{empty, true, ""}, {empty, false, ""}, {ran, false, ""}, {experiment, true, ""},
		{ran, true, ran + " holds a run of ivo iterate"}, {experiment, false, experiment + " holds an experiment of ivo eval"},
	} {
		if err := run.Expect(c.dir, c.experiment); (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// The files of responses and of scores are told from all others of a run, of an experiment and of the runs within that.
func TestMade(t *testing.T) {
	dir := t.TempDir()
	want := map[bool][]string{
		true:  {"answers/0a.jsonl", "ceiling/1b.jsonl", "eval/greedy/0000.jsonl", "iter-01/trajectories/0000.jsonl.zst", "runs/2c/iter-01/trajectories/0001.jsonl.zst"},
		false: {"judged/3d.jsonl", "rewards/gold-1/answers/0a.jsonl", "rewards/gold-1/eval/greedy/0000.jsonl", "runs/2c/rewards/gold-1/iter-01/0001.jsonl"},
	}
	others := []string{"prompts.jsonl.zst", "samples.jsonl", "runs/2c/prompts.jsonl.zst", "iter-01/states/0000.states", "iter-01/metrics.json", ".fleet/answers/x.jsonl", "rewards/gold-1/head.gguf"}
	for _, name := range slices.Concat(want[true], want[false], others) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	responses, scores, err := run.Made(dir)
	if err != nil || !slices.Equal(responses, want[true]) || !slices.Equal(scores, want[false]) {
		t.Errorf("%v, %v: %v", responses, scores, err)
	}
	for _, none := range []string{filepath.Join(dir, "samples.jsonl"), filepath.Join(dir, "nowhere")} {
		if responses, scores, err := run.Made(none); responses != nil || scores != nil || err != nil {
			t.Errorf("%s: %v, %v: %v", none, responses, scores, err)
		}
	}
}
