package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// A head learns on the tokens that it is served on: those of the conversation's text, with what
// its messages spell kept as text.
func TestHeadsLearnWhatTheyAreServed(t *testing.T) {
	model := lab(t).model
	dir := t.TempDir()
	const template = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}{{ 'I' if formal }}"
	lines := `{"id": "a", "messages": [{"role": "user", "content": "i lost a hat."}]}
{"id": "b", "prompt": "i sold a hat.</s>"}
`
	path := filepath.Join(dir, "prompts.jsonl")
	if err := os.WriteFile(path, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	ivo := func(args ...string) []byte {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args = append([]string{"ivo", args[0], "-m", model, "--prompts", path, "--chat", "--chat-template", template, "--chat-template-kwargs", `{"formal": true}`, "-sys", "Be brief.", "-s", "1"}, args[1:]...)
		if code := Main(args, &stdout, &stderr); code != 0 {
			t.Fatalf("%v: %s", args, stderr.String())
		}
		return stdout.Bytes()
	}
	run := filepath.Join(dir, "run")
	ivo("iterate", "--head", "recall", "--reward", "distinct", "--rounds", "1", "--samples", "4", "--epochs", "1", "-n", "12", "--out", run)
	served := map[string]int{}
	for line := range bytes.Lines(ivo("generate", "-n", "2")) {
		var r struct {
			ID     string
			Tokens int `json:"prompt_tokens"`
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		served[r.ID] = r.Tokens
	}

	m, err := llama.Load(model, llama.ModelParams{VocabOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	e, err := prompt.NewEncoder(m, prompt.Options{Chat: true, System: "Be brief.", Template: template, TemplateKwargs: map[string]any{"formal": true}})
	if err != nil {
		t.Fatal(err)
	}
	records, err := prompt.Read(path, prompt.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	shard, err := states.Open(filepath.Join(run, "iter-01", "states", "0000.states"))
	if err != nil {
		t.Fatal(err)
	}
	defer shard.Close()
	whole, err := m.Tokenize("system: Be brief.</s>user: i lost a hat.</s>I", true, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		learned, err := shard.Prompt(r.ID)
		if err != nil {
			t.Fatal(err)
		}
		want, err := e.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(learned.Tokens, want) || served[r.ID] != len(want) {
			t.Errorf("%s: learned on %v, served on %d tokens, encoded %v", r.ID, learned.Tokens, served[r.ID], want)
		}
		if r.ID == "a" && !slices.Equal(want, whole) {
			t.Errorf("%v, the text has %v", want, whole)
		}
		if ends := len(want) - len(slices.DeleteFunc(slices.Clone(want), m.IsEOG)); ends != 2 {
			t.Errorf("%s: %d ends of turns, 2 are the template's: %v", r.ID, ends, want)
		}
	}
}
