package serve

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/run"
	"github.com/ivo-decoding/ivo/orchestrator/serve/shelf"
)

// shelved is a shelf with a run that has only begun and a file of three prompts.
func shelved(t testing.TB) *shelf.Shelf {
	t.Helper()
	dir := t.TempDir()
	o := loop.Defaults(4)
	o.Model, o.Prompts, o.Reward, o.Inputs.SampleFrom = "lab.gguf", "train.jsonl", "sentiment", []int{0}
	options, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	prompts := filepath.Join(dir, "mine.jsonl")
	for path, text := range map[string]string{filepath.Join(dir, "one", run.OptionsFile): string(options), prompts: `{"prompt": "a"}` + "\n" + `{"prompt": "b"}` + "\n" + `{"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "c"}]}`} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := shelf.Open(dir, prompts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Runs and prompts are read by the ids that are listed, by those who have a key, and by nothing else.
func TestRuns(t *testing.T) {
	o := options(t)
	o.Shelf, o.Keys = shelved(t), []string{"k"}
	_, url := start(t, o)
	get := func(path string) (int, string, string) {
		status, header, text := ask(t, url+path, "", "Authorization", "Bearer k")
		return status, header.Get("Content-Security-Policy"), text
	}
	_, _, text := get("/runs")
	r := at(parse(t, text), "runs", 0)
	if at(r, "name") != "one" || at(r, "reward") != "sentiment" || at(r, "report") != true {
		t.Fatal(text)
	}
	report := "/runs/" + at(r, "id").(string) + "/report"
	status, policy, text := get(report)
	if status != 200 || !strings.HasPrefix(policy, "sandbox; default-src 'none'") || !strings.Contains(text, "sentiment") {
		t.Errorf("%d, %s, %.200s", status, policy, text)
	}
	_, _, text = get("/prompts")
	list := "/prompts/" + at(parse(t, text), "prompts", 0, "id").(string)
	for query, want := range map[string]string{
		"":                 `{"from":0,"prompts":[{"id":"1","messages":[{"role":"user","content":"a"}]},{"id":"2","messages":[{"role":"user","content":"b"}]},{"id":"3","messages":[{"role":"system","content":"s"},{"role":"user","content":"c"}]}],"total":3}`,
		"?from=1&count=1":  `{"from":1,"prompts":[{"id":"2","messages":[{"role":"user","content":"b"}]}],"total":3}`,
		"?from=9&count=20": `{"from":9,"prompts":[],"total":3}`,
	} {
		if _, _, text := get(list + query); strings.TrimSpace(text) != want {
			t.Errorf("%s: %s, want %s", query, text, want)
		}
	}
	for _, query := range []string{"?from=-1", "?from=x", "?count=0", "?count=1e9", "?count="} {
		if status, _, text := get(list + query); status != 400 || at(parse(t, text), "error", "param") == nil {
			t.Errorf("%s: %d %s", query, status, text)
		}
	}
	for _, path := range []string{"/runs/one/report", "/runs/../report", "/runs/..%2f..%2fetc/report", "/runs/%2fetc%2fpasswd/report", "/runs/%00/report", "/prompts/mine.jsonl", "/prompts/..%2fmine.jsonl", "/prompts/%2e%2e"} {
		if status, _, text := get(path); status != 404 {
			t.Errorf("%s: %d %.100s", path, status, text)
		}
	}
	for _, path := range []string{"/runs", report, "/prompts", list} {
		if status, _, _ := ask(t, url+path, ""); status != 401 {
			t.Errorf("%s is answered without a key: %d", path, status)
		}
	}
}
