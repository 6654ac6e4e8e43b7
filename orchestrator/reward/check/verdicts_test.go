package check_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/ivo-decoding/ivo/orchestrator/reward/check"
)

// response is a line of testdata/ifeval.jsonl.zst or ifbench.jsonl.zst, which scripts/agree/checks.py
// and checks_ifbench.py write.
type response struct {
	ID       string
	Response string
	Checks   []judged
}

// judged is a check and what the other program found of it.
type judged struct {
	kind          string
	kwargs        json.RawMessage
	strict, loose float64 // 1 where met, 0.5 where it does not agree with itself
}

func (j *judged) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&j.kind, &j.kwargs, &j.strict, &j.loose})
}

func verdicts(tb testing.TB, name string) (responses []response) {
	tb.Helper()
	f, err := os.Open("testdata/" + name + ".jsonl.zst")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	defer z.Close()
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r response
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			tb.Fatal(err)
		}
		responses = append(responses, r)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return responses
}

// The checks find what other programs find, but for testdata/differences.txt, which says why.
func TestVerdicts(t *testing.T) {
	known, err := os.ReadFile("testdata/differences.txt")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{}
	for line := range strings.Lines(string(known)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			want[line] = true
		}
	}
	type tally struct{ met, not, unsure int }
	tallies := map[string]*tally{}
	for _, kind := range check.Kinds() {
		tallies[kind] = &tally{}
	}
	for _, r := range append(verdicts(t, "ifeval"), verdicts(t, "ifbench")...) {
		for i, j := range r.Checks {
			instructions, err := check.Parse([]string{j.kind}, []json.RawMessage{j.kwargs})
			if err != nil {
				t.Errorf("%s, %s %s: %v", r.ID, j.kind, j.kwargs, err)
				continue
			}
			for _, mode := range []struct {
				name string
				got  bool
				want float64
			}{
				{"strict", instructions[0].Met(r.Response), j.strict},
				{"loose", instructions[0].MetLoosely(r.Response), j.loose},
			} {
				switch mode.want {
				case 1:
					tallies[j.kind].met++
				case 0:
					tallies[j.kind].not++
				default:
					tallies[j.kind].unsure++
				}
				if mode.want == 0.5 || mode.got == (mode.want == 1) {
					continue
				}
				difference := fmt.Sprintf("%s, check %d: %s: %v", r.ID, i+1, mode.name, mode.got)
				if !want[difference] {
					t.Errorf("%s, where the other program finds %v\n%s %s\n%q", difference, !mode.got, j.kind, j.kwargs, r.Response)
				}
				delete(want, difference)
			}
		}
	}
	for difference := range want {
		t.Errorf("no difference any more: %s", difference)
	}
	for kind, n := range tallies {
		if n.met < 20 || n.not < 20 {
			t.Errorf("%s: %d met, %d not met: too few to tell", kind, n.met, n.not)
		}
		t.Logf("%-46s %4d met, %4d not met, %3d unsure", kind, n.met, n.not, n.unsure)
	}
}
