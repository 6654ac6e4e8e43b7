//go:build unix

package reward_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

var asked = []reward.Item{
	{
		Prompt:   prompt.Record{ID: "p1", Text: "a <b>\n", Fields: map[string]json.RawMessage{"gold": json.RawMessage("{\n\"x\": 1}"), "response": json.RawMessage("7"), "finish": json.RawMessage("8")}},
		Response: "so \"it\"\n\u2028goes", Finish: "length",
	},
	{Prompt: prompt.Record{ID: "p2", Messages: []llama.Message{{Role: "user", Content: "hi"}}}},
}

// told is what programs and servers get of them.
var told = []string{
	`{"id":"p1","prompt":"a <b>\n","finish":"length","gold":{"x":1},"response":"so \"it\"\n\u2028goes"}`,
	`{"id":"p2","messages":[{"role":"user","content":"hi"}],"response":""}`,
}

func TestPrograms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "told")
	spec := `2*cmd:sh -c 'while read -r line; do printf "%s\n" "$line" >> ` + file + `; echo 0.5; done'`
	if _, err := reward.Open(spec, reward.Options{}); err == nil || !strings.Contains(err.Error(), "never because a file does") {
		t.Fatalf("a command that nobody allowed: %v", err)
	}
	m, err := reward.Open(spec, reward.Options{AllowCommands: true})
	if err != nil {
		t.Fatal(err)
	}
	if name := m.Info().Name; name != spec {
		t.Errorf("the name is %s", name)
	}
	scores, err := m.Score(t.Context(), asked)
	if diff := cmp.Diff([]reward.Score{{Value: 1}, {Value: 1}}, scores); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	lines, err := os.ReadFile(file)
	if diff := cmp.Diff(strings.Join(told, "\n")+"\n", string(lines)); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if err := m.(reward.Checker).Check(t.Context(), []prompt.Record{asked[0].Prompt}); err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if m, err = reward.Open("cmd:false", reward.Options{AllowCommands: true}); err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := m.(reward.Checker).Check(t.Context(), []prompt.Record{asked[0].Prompt}); err == nil || !strings.Contains(err.Error(), `tried on prompt "p1": the program ended (exit status 1)`) {
		t.Errorf("got %v", err)
	}
}

func TestServers(t *testing.T) {
	var bodies []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		io.WriteString(w, `[0.25, {"error": "too short"}]`)
	}))
	defer s.Close()
	for _, spec := range []string{s.URL + "/score?q=a+b*c", "http:" + s.URL + "/score?q=a+b*c"} {
		m, err := reward.Open(spec, reward.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if name := m.Info().Name; name != s.URL+"/score?q=a+b*c" {
			t.Errorf("%s: the name is %s", spec, name)
		}
		scores, err := m.Score(t.Context(), asked)
		if err != nil || scores[0] != (reward.Score{Value: .25}) || scores[1].Err == nil || scores[1].Err.Error() != "too short" {
			t.Errorf("got %v, %v", scores, err)
		}
		if err := m.(reward.Checker).Check(t.Context(), []prompt.Record{asked[0].Prompt}); err != nil {
			t.Error(err)
		}
		m.Close()
	}
	if diff := cmp.Diff(`{"items":[`+strings.Join(told, ",")+"]}\n", bodies[0]); diff != "" {
		t.Error(diff)
	}
}

// A secret in an address is refused, and not told.
func TestSecretsStayUntold(t *testing.T) {
	for _, spec := range []string{
		"http://user:s3cret@h/", "length:3 + 2*judge:https://user:s3@cret@h/v1,model=x", "http://h/?api_key=s3cret&x=1", "judge:http://h/?x=1&Access-Token=s3cret,reply=json", "https://u:s3/cret@h/", "judg:http://u:s3cret@h/",
	} {
		if m, err := reward.Open(spec, reward.Options{}); err == nil || strings.Contains(err.Error(), "s3") || strings.Contains(err.Error(), "cret@") {
			t.Errorf("%s: got %v, %v", spec, m, err)
		}
	}
}
