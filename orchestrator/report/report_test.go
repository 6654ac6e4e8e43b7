package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// document is what a reader of the page gets.
type document struct {
	text     string
	elements map[string]int
	rows     map[string][][]string // cells of the tables, by id
	tips     []string              // what tokens say of themselves
}

// parse makes and reads the report of the run in dir.
func parse(t *testing.T, dir string) document {
	t.Helper()
	if err := Write(dir); err != nil {
		t.Fatal(err)
	}
	return parsePage(t, filepath.Join(dir, File))
}

// parsePage reads a page as XML, which it is written to be: what does not parse is not
// well-formed.
func parsePage(t *testing.T, path string) document {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := document{elements: map[string]int{}, rows: map[string][][]string{}}
	var text strings.Builder
	table, cell := "", -1
	dec := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := dec.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch token := token.(type) {
		case xml.StartElement:
			d.elements[token.Name.Local]++
			for _, a := range token.Attr {
				switch a.Name.Local {
				case "id":
					table = a.Value
				case "data-tip":
					d.tips = append(d.tips, a.Value)
				case "src", "href":
					t.Errorf("<%s %s=%q>: the page is not self-contained", token.Name.Local, a.Name.Local, a.Value)
				}
			}
			switch token.Name.Local {
			case "tr":
				d.rows[table] = append(d.rows[table], nil)
			case "th", "td":
				cell = text.Len()
			}
		case xml.EndElement:
			switch token.Name.Local {
			case "th", "td":
				rows := d.rows[table]
				rows[len(rows)-1] = append(rows[len(rows)-1], text.String()[cell:])
			}
		case xml.CharData:
			text.Write(token)
		}
	}
	d.text = text.String()
	return d
}

func (d document) wants(t *testing.T, parts ...string) {
	t.Helper()
	for _, s := range parts {
		if !strings.Contains(d.text, s) {
			t.Errorf("the page does not say %q", s)
		}
	}
}

func TestFinishedRun(t *testing.T) {
	dir, e := fakeRun(t, 2, true)
	d := parse(t, dir)
	rows := d.rows["methods"][1:]
	if len(rows) != len(e.Methods) {
		t.Fatalf("%d methods in the table, %d in eval.json", len(rows), len(e.Methods))
	}
	for i, m := range e.Methods {
		if rows[i][0] != m.Method {
			t.Errorf("row %d is of %q, not %s", i, rows[i][0], m.Method)
		}
		want := fmt.Sprintf("[%d %.2f [%.2f,\u00a0%.2f] %.0f\u00a0%% %.1f]", m.N, m.Reward.Mean, m.Reward.Lo, m.Reward.Hi, 100*m.WinRate, m.DecodedPerEmitted)
		if got := fmt.Sprint(rows[i][1:]); got != want {
			t.Errorf("%s: %s, not %s", m.Method, got, want)
		}
	}
	base, ivo := e.Methods[0], e.Methods[5]
	d.wants(t, fmt.Sprintf("Value-guided block beam search scores %.2f [%.2f,\u00a0%.2f] where the model alone scores %.2f [%.2f,\u00a0%.2f]; it wins on %.0f\u00a0%% of 300 prompts.",
		ivo.Reward.Mean, ivo.Reward.Lo, ivo.Reward.Hi, base.Reward.Mean, base.Reward.Lo, base.Reward.Hi, 100*ivo.WinRate),
		"On the same prompts, ivo minus greedy is", "Tom took the red bus", "round_prompts: 0")
	if got, want := fmt.Sprint(d.rows["rounds"][2]), "[2 12,000 2.90 1.81 22.4 0.37 0.58 0.06]"; got != want {
		t.Errorf("round 2: %s, not %s", got, want)
	}
	if d.elements["svg"] != 8 {
		t.Errorf("%d plots, not 2 of the methods and 3 a round", d.elements["svg"])
	}
}

func TestAnswersStayText(t *testing.T) {
	dir, _ := fakeRun(t, 2, true)
	d := parse(t, dir)
	if n := strings.Count(d.text, hostile); n != 15 {
		t.Errorf("%d answers are shown as they are, not 5 prompts by 3 methods", n)
	}
	if d.elements["script"] != 0 {
		t.Error("an answer became a script")
	}
}

func TestUnfinishedRuns(t *testing.T) {
	for _, c := range []struct {
		rounds int
		want   string
	}{
		{0, "0 of 2 rounds have a trained value function; round 1 has 3 shards of trajectories."},
		{1, "1 of 2 rounds have a trained value function; round 2 has 3 shards of trajectories."},
		{2, "2 of 2 rounds have a trained value function, the evaluation is still to come."},
	} {
		dir, _ := fakeRun(t, c.rounds, false)
		d := parse(t, dir)
		d.wants(t, c.want)
		if d.elements["svg"] != 3*c.rounds {
			t.Errorf("%d rounds: %d plots", c.rounds, d.elements["svg"])
		}
	}
}

func TestPromptsAndAnswersGone(t *testing.T) {
	dir, _ := fakeRun(t, 2, true)
	for _, name := range []string{run.EvalPromptsFile, run.Answers("greedy", 0)} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	parse(t, dir).wants(t, "Value-guided block beam search scores")
}

// The page of a run that workers have drawn says who did what, and that it is mixed if it is.
func TestWorkersNamed(t *testing.T) {
	dir, _ := fakeRun(t, 2, true)
	if d := parse(t, dir); d.rows["workers"] != nil {
		t.Error("a lone run names workers")
	}
	put(t, filepath.Join(dir, run.FleetFile), []byte(`workers:
- {name: desk-A1B2, cores: 8, cpu: "AVX2 <b>", build: b11434, offload: all layers on a GPU, shards: 7, scored: 3, tokens: 900, seconds: 30, failures: 1}
- {name: lap-C3D4, cores: 4, cpu: NEON, build: b11434, shards: 5, scored: 9, tokens: 100, seconds: 0, failures: 0}
mixed: true
drawn: {iter-01/trajectories/0000.jsonl.zst: desk-A1B2, rewards/gold/iter-01/0000.jsonl: lap-C3D4}
`))
	d := parse(t, dir)
	want := [][]string{
		{"worker", "CPU", "cores", "llama.cpp", "offload", "shards drawn", "files scored", "tokens", "tokens/s", "failed"},
		{"desk-A1B2", "AVX2 <b>", "8", "b11434", "all layers on a GPU", "7", "3", "900", "30.0", "1"},
		{"lap-C3D4", "NEON", "4", "b11434", "", "5", "9", "100", "0.0", "0"},
	}
	if diff := cmp.Diff(want, d.rows["workers"]); diff != "" {
		t.Error(diff)
	}
	d.wants(t, "iter-01/trajectories/0000.jsonl.zst  desk-A1B2", "rewards/gold/iter-01/0000.jsonl  lap-C3D4", MixedFleet)
}

func TestErrors(t *testing.T) {
	if err := Write(t.TempDir()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no run to report on") {
		t.Errorf("no run: %v", err)
	}
	dir, _ := fakeRun(t, 2, true)
	put(t, filepath.Join(dir, run.EvaluationFile), []byte("{"))
	if err := Write(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("damaged evaluation: %v", err)
	}
}

// Where the reward rises and the second one falls, the page and the table warn.
func TestSecondReward(t *testing.T) {
	dir, e := fakeRun(t, 2, true)
	e.Second = "length:30"
	steps := map[string]eval.Interval{"base": {Mean: .5, Lo: .4, Hi: .6}, "guided-b1": {Mean: .6, Lo: .5, Hi: .7}, "guided-b2": {Mean: .2, Lo: .1, Hi: .3}}
	e.Methods[1].Method, e.Methods[2].Method = "guided-b1", "guided-b2"
	for i := range e.Methods[:3] {
		second := steps[e.Methods[i].Method]
		e.Methods[i].Second = &second
	}
	e.Overoptimized = []eval.Overoptimization{{Method: "guided-b2", Than: "guided-b1", Reward: eval.Interval{Mean: .4, Lo: .1, Hi: .7}, Second: eval.Interval{Mean: -.4, Lo: -.5, Hi: -.3}}}
	const warning = "From guided-b1 to guided-b2, gold rises by 0.40 [0.10, 0.70] and length:30 falls by 0.40 [0.30, 0.50]."
	d, err := run.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = run.Put(d, run.EvaluationFile, "k", e.From, nil, &e)
	d.Close()
	if err != nil {
		t.Fatal(err)
	}
	page := parse(t, dir)
	page.wants(t, warning, "Over-optimized: the policy has found what gold mistakes for good, as length:30 says", "Both rewards as guidance grows", "sampling guided by the value function of round 2, beta 1")
	if got := fmt.Sprint(page.rows["methods"][2][3]); got != "0.60 [0.50,\u00a00.70]" {
		t.Errorf("the second reward of guided-b1 is shown as %q", got)
	}
	var table strings.Builder
	if err := EvaluationTable(&table, &e); err != nil || !strings.Contains(table.String(), warning) {
		t.Errorf("%v, %s", err, &table)
	}
}
