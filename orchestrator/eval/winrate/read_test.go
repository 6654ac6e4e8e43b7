package winrate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	records := []prompt.Record{{ID: "7", Text: "p7", Fields: map[string]json.RawMessage{"gold": json.RawMessage("1")}}, {ID: "x", Text: "px"}}
	for name, c := range map[string]struct {
		a, b    string
		records []prompt.Record
		want    string // the pairs in short, or the error
		left    int
	}{
		"two samples": {
			a:    `{"id": "7", "sample": 1, "prompt": "p", "text": "a1", "finish": "stop"} {"id": 7, "prompt": "p", "text": "a0"}`,
			b:    `{"id": "7", "prompt": "p", "text": "b0"} {"id": "7", "sample": 1, "prompt": "p", "response": "b1"} {"id": "z", "text": "c"}`,
			want: "7.1 p: a1|b1; 7.0 p: a0|b0", left: 1,
		},
		"unnumbered":        {a: `{"id": "7", "text": "a"} {"id": "7", "text": "a2"}`, b: `{"id": "7", "text": "b"} {"id": "7", "text": "b2"}`, want: "7.0 : a|b; 7.1 : a2|b2"},
		"records":           {a: `{"id": "7", "text": "a"} {"id": "y", "text": "a"}`, b: `{"id": "7", "text": "b"} {"id": "y", "text": "b"}`, records: records, want: "7.0 p7: a|b", left: 2},
		"a run's files":     {a: `{"key": "k", "sum": "s"} {"prompt_id": "x", "sample": 0, "response": "a"}`, b: `{"key": "k", "sum": "s"} {"prompt_id": "x", "sample": 0, "response": "b"}`, records: records, want: "x.0 px: a|b"},
		"conversations":     {a: `{"id": "1", "messages": [{"role": "user", "content": "Hi"}], "text": "a"}`, b: `{"id": "1", "messages": [{"role": "user", "content": "Hi"}], "text": "b"}`, want: "1.0 user: Hi: a|b"},
		"nothing in common": {a: `{"id": "1", "text": "a"}`, b: `{"id": "2", "text": "b"}`, want: "! no prompt is answered in both"},
		"other prompts":     {a: `{"id": "1", "prompt": "p", "text": "a"}`, b: `{"id": "1", "prompt": "q", "text": "b"}`, want: `! answer different prompts under the id "1"`},
		"not the records":   {a: `{"id": "7", "text": "a"}`, b: `{"id": "7", "prompt": "p8", "text": "b"}`, records: records, want: `! prompt "7" is another one than`},
		"twice":             {a: `{"id": "1", "sample": 0, "text": "a"} {"id": "1", "sample": 0, "text": "a"}`, b: ``, want: `! record 2: it is another answer 0 to "1"`},
		"no text":           {a: `{"id": "1"}`, b: ``, want: `! record 1: it has no "id" or no "text"`},
		"no JSON":           {a: `hello`, b: ``, want: "! record 1: invalid"},
		"empty":             {a: ``, b: ``, want: "! no prompt is answered in both"},
	} {
		pairs, left, err := Read(write(t, "a", c.a), write(t, "b", c.b), c.records)
		var parts []string
		for _, p := range pairs {
			parts = append(parts, fmt.Sprintf("%s.%d %s: %s|%s", p.Prompt.ID, p.Sample, p.Prompt.Show(), p.A.Text, p.B.Text))
		}
		got := strings.Join(parts, "; ")
		if text, isErr := strings.CutPrefix(c.want, "! "); isErr && (err == nil || !strings.Contains(err.Error(), text)) || !isErr && (err != nil || got != c.want || left != c.left) {
			t.Errorf("%s: got %q, %d left, %v; want %q, %d left", name, got, left, err, c.want, c.left)
		}
		if c.records != nil && err == nil && pairs[0].Prompt.ID == "7" && string(pairs[0].Prompt.Fields["gold"]) != "1" {
			t.Errorf("%s: fields %v", name, pairs[0].Prompt.Fields)
		}
	}
	if _, _, err := Read("none", "none", nil); err == nil || !strings.Contains(err.Error(), "check the path") {
		t.Error(err)
	}
}
