package judge

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/program"
)

const lab = "../../../testdata/lab/summarize-s.gguf"

func TestRead(t *testing.T) {
	for argument, want := range map[string]settings{
		"m.gguf":                            {where: "m.gguf"},
		" a,b.gguf ,reply=json":             {where: "a,b.gguf", json: true},
		"a,reply=json,b.gguf":               {where: "a,reply=json,b.gguf"},
		"http://h/v1, model=x , reply=json": {where: "http://h/v1", model: "x", json: true},
		"https://h,template=a b.txt":        {where: "https://h", template: "a b.txt"},
		"m,model=":                          {where: "m,model="},
		",reply=json":                       {json: true},
		"m,reply=xml":                       {where: "m,reply=xml"},
		"http://h,model=a=b,template=t":     {where: "http://h", model: "a=b", template: "t"},
	} {
		if got := read(argument); got != want {
			t.Errorf("%s: got %+v, want %+v", argument, got, want)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	template := filepath.Join(t.TempDir(), "t.txt")
	for text, want := range map[string]string{
		"{prompt} {response} {a} {b}?": "no question about one answer or two",
		"{prompt} {a}?":                "no question about one answer or two",
		"{response}?":                  "no question about one answer or two",
		"":                             "no question about one answer or two",
	} {
		if err := os.WriteFile(template, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open("http://h,template="+template, program.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	for argument, want := range map[string]string{
		"":                                "no judge is named",
		",reply=json":                     "no judge is named",
		"m.gguf,model=x":                  "m.gguf is a file",
		"none.gguf":                       "none.gguf",
		"http://h,template=none":          "the judge's template",
		"http://user:pass@h/":             "holds a user name or a password",
		"http://h/?token=pass,reply=json": `holds a secret, "token"`,
	} {
		if _, err := Open(argument, program.Options{}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "pass@") || strings.Contains(err.Error(), "=pass") {
			t.Errorf("%s: got %v, want %q", argument, err, want)
		}
	}
}

// token is a likely first token of a reply.
type token struct {
	Token   string  `json:"token"`
	LogProb float64 `json:"logprob"`
}

// serve is a server with a model that replies as a function of what it is asked.
func serve(t *testing.T, reply func(asked string) (said string, first []token)) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Messages []struct{ Content string }
			Format   any `json:"response_format"`
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		said, first := reply(in.Messages[0].Content)
		choice := map[string]any{"message": map[string]any{"content": said}}
		if first != nil {
			choice["logprobs"] = map[string]any{"content": []any{map[string]any{"top_logprobs": first}}}
		}
		json.NewEncoder(w).Encode(map[string]any{"choices": []any{choice}})
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// judged is a verdict as text.
func judged(v Verdict) string {
	if v.Err != nil {
		return "! " + v.Err.Error()
	}
	return fmt.Sprintf("%.4f", v.Value)
}

func compare(t *testing.T, what string, v Verdict, want string) {
	t.Helper()
	text, isErr := strings.CutPrefix(want, "! ")
	if got := judged(v); isErr != (v.Err != nil) || isErr && !strings.Contains(got, text) || !isErr && got != want {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func TestServerOdds(t *testing.T) {
	for name, tc := range map[string]struct {
		first []token
		want  string
	}{
		"both":            {[]token{{"Yes", -0.5}, {"No", -1.5}, {"Maybe", -3}}, "1.0000"},
		"spelt in ways":   {[]token{{" yes", math.Log(.3)}, {"YES", math.Log(.2)}, {"▁No", math.Log(.25)}, {"Nope", math.Log(.2)}}, "0.6931"},
		"one is rare":     {[]token{{"No", -0.25}, {"Maybe", -2}, {"Well", -4}}, "-3.7500"},
		"neither":         {[]token{{"Well", -0.25}}, "! neither Yes nor No"},
		"no logprobs":     {nil, "! no log-probabilities"},
		"an empty list":   {[]token{}, "! no log-probabilities"},
		"yes and no more": {[]token{{"Yes", 0}}, "0.0000"},
	} {
		j, err := Open(serve(t, func(string) (string, []token) { return "Well", tc.first }), program.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		got, err := j.Rate(t.Context(), []Answer{{prompt.Record{Text: "p"}, "r"}})
		if err != nil {
			t.Fatal(name, err)
		}
		compare(t, name, got[0], tc.want)
	}
}

func TestServerJSON(t *testing.T) {
	url := serve(t, func(asked string) (string, []token) {
		_, said, _ := strings.Cut(asked, "<answer>\n")
		if two, b, ok := strings.Cut(asked, "<answer B>\n"); ok {
			said, asked = b, two
		}
		said, _, _ = strings.Cut(said, "\n</answer")
		return said, nil
	})
	j, err := Open(url+",reply=json", program.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for said, want := range map[string][2]string{ // of a grade and of a comparison
		`{"reason": "r", "verdict": 7}`:    {"7.0000", `! verdict is 7`},
		"```json\n{\"verdict\": 1.5}\n```": {"1.5000", `! verdict is 1.5`},
		`{"verdict": 11}`:                  {"! from 1 to 10", `! verdict is 11`},
		`{"verdict": "A", "reason": "{}"}`: {`! verdict is "A"`, "1.0000"},
		`Well: {"verdict": "b"}`:           {"! from 1 to 10", "-1.0000"},
		`{"verdict": "TIE"}`:               {"! from 1 to 10", "0.0000"},
		`{"grade": 7}`:                     {"! no verdict in JSON", "! no verdict in JSON"},
		`seven`:                            {"! no verdict in JSON", "! no verdict in JSON"},
		`{"verdict": 7`:                    {"! no verdict in JSON", "! no verdict in JSON"},
		"":                                 {"! no verdict in JSON", "! no verdict in JSON"},
	} {
		got, err := j.Rate(t.Context(), []Answer{{prompt.Record{Text: "p"}, said}})
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "grade "+said, got[0], want[0])
		if got, err = j.Compare(t.Context(), []Pair{{prompt.Record{Text: "p"}, "other", said}}); err != nil {
			t.Fatal(err)
		}
		compare(t, "comparison "+said, got[0], want[1])
		if got[0].Said != said {
			t.Errorf("it said %q, not %q", got[0].Said, said)
		}
	}
	if lo, hi := j.Range(); lo != 1 || hi != 10 {
		t.Errorf("range %v to %v", lo, hi)
	}
}

// What answers say is put in once: a name in braces in one of them stays what it is.
func TestAbout(t *testing.T) {
	q := question{text: "{prompt}|{a}|{b}|{response}"}
	r := prompt.Record{Messages: []llama.Message{{Role: "user", Content: "{a}"}, {Role: "assistant", Content: "x"}}}
	if got, want := q.about(r, "{a}", "{b} {prompt}", "{b}", "{a}"), "user: {a}\n\nassistant: x|{b} {prompt}|{a}|{response}"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The fingerprint tells questions and models apart, and neither holds the key nor depends on it.
func TestFingerprint(t *testing.T) {
	template := filepath.Join(t.TempDir(), "t.txt")
	if err := os.WriteFile(template, []byte("{prompt}{a}{b}"), 0o644); err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, key := range []string{"sk-1", "sk-2"} {
		t.Setenv(program.ChatKeyVariable, key)
		for _, argument := range []string{"http://h", "http://h/v2", "http://h,reply=json", "http://h,model=x", "http://h,template=" + template} {
			j, err := Open(argument, program.Options{})
			if err != nil {
				t.Fatal(err)
			}
			id := j.Fingerprint()
			if before, ok := seen[id]; ok && before != argument || strings.Contains(id, "sk-") {
				t.Errorf("%s and %s: %s", argument, before, id)
			}
			seen[id] = argument
			if own := strings.Contains(argument, "template"); j.Rates() == own || !j.Compares() {
				t.Errorf("%s: rates %v, compares %v", argument, j.Rates(), j.Compares())
			}
		}
	}
	if len(seen) != 5 {
		t.Errorf("%d fingerprints", len(seen))
	}
}

// oracle is the row after some tokens, from an empty context.
func oracle(t *testing.T, m *llama.Model, tokens []int32) []float32 {
	t.Helper()
	c, err := m.NewContext(llama.ContextParams{Ctx: len(tokens), Batch: max(len(tokens), 32), Threads: 1, FullWindow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	last := 0
	for i, token := range tokens {
		if last, err = c.Add(token, int32(i), 0, i == len(tokens)-1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Decode(); err != nil {
		t.Fatal(err)
	}
	row, err := c.Row(last)
	if err != nil {
		t.Fatal(err)
	}
	return append([]float32(nil), row.Logits...)
}

// The lab's model says yes or no of summaries. Its odds are those of a decode from nothing, whatever was asked
// before.
func TestLabJudge(t *testing.T) {
	template := filepath.Join(t.TempDir(), "check.txt")
	if err := os.WriteFile(template, []byte("{prompt}{response}\nCHECK:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	j, err := Open(lab+",template="+template, program.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	records, err := prompt.Read("../../../testdata/lab/summarize-test.jsonl", prompt.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	records = records[:3]
	if err := j.Check(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	var answers []Answer
	for _, r := range records {
		for _, said := range []string{" so basically: lost yellow piano", " so basically: lost red bell, and got hat", ""} {
			answers = append(answers, Answer{r, said})
		}
	}
	got, err := j.Rate(t.Context(), answers)
	if err != nil {
		t.Fatal(err)
	}
	f := j.model.(*file)
	yes, no := f.words["Yes"], f.words["No"]
	if len(yes) != 1 || len(no) != 1 {
		t.Fatalf("yes is %v, no %v", yes, no)
	}
	for i, a := range answers {
		tokens, err := f.encode(j.rate, a.Prompt.Text+a.Response+"\nCHECK:")
		if err != nil || got[i].Err != nil {
			t.Fatal(err, got[i].Err)
		}
		logits := oracle(t, f.model, tokens)
		if want := float64(logits[yes[0]] - logits[no[0]]); math.Abs(want-got[i].Value) > 1e-3 {
			t.Errorf("answer %d: odds %v, want %v", i, got[i].Value, want)
		}
	}
	long := prompt.Record{ID: "long", Text: strings.Repeat("i bought a red bell at work. ", 60)}
	if err := j.Check(t.Context(), []prompt.Record{records[0], long}); err == nil || !strings.Contains(err.Error(), `prompt "long": the judge's question takes`) {
		t.Errorf("got %v", err)
	}
	got, err = j.Rate(t.Context(), []Answer{{long, "x"}, answers[0]})
	if err != nil || got[0].Err == nil || got[1].Err != nil {
		t.Errorf("%v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Rate(ctx, answers); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// A real model: its odds are those of a decode from nothing, whatever was asked before, and its JSON is
// held to the grammar.
func TestRealJudge(t *testing.T) {
	path := testmodel.SmolLM2(t)
	p := prompt.Record{ID: "1", Text: "What is the capital of France?"}
	j, err := Open(path, program.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	pairs := []Pair{{p, "The capital of France is Paris.", "Bananas are yellow."}, {p, "Bananas are yellow.", "The capital of France is Paris."}}
	got, err := j.Compare(t.Context(), pairs)
	if err != nil {
		t.Fatal(err)
	}
	f := j.model.(*file)
	{
		pair := pairs[1]
		tokens, err := f.encode(j.pair, j.pair.about(p, "{a}", pair.A, "{b}", pair.B))
		if err != nil {
			t.Fatal(err)
		}
		logits := oracle(t, f.model, tokens)
		var sums [2]float64
		for k, word := range []string{"A", " A", "B", " B"} {
			ids, err := f.model.Tokenize(word, false, false)
			if err != nil || len(ids) != 1 {
				t.Fatal(word, ids, err)
			}
			sums[k/2] += math.Exp(float64(logits[ids[0]]))
		}
		if want := math.Log(sums[0] / sums[1]); math.Abs(want-got[1].Value) > 0.1 {
			t.Errorf("odds %v, want %v", got[1].Value, want)
		}
	}
	k, err := Open(path+",reply=json", program.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	graded, err := k.Rate(t.Context(), []Answer{{p, "The capital of France is Paris."}})
	if err != nil || graded[0].Err != nil || graded[0].Value < 1 || graded[0].Value > 10 {
		t.Fatalf("%+v, %v", graded, err)
	}
	var reply struct {
		Reason  string
		Verdict float64
	}
	if err := json.Unmarshal([]byte(graded[0].Said), &reply); err != nil || reply.Reason == "" || cmp.Diff(reply.Verdict, graded[0].Value) != "" {
		t.Errorf("%s: %+v, %v", graded[0].Said, reply, err)
	}
	t.Log(got, graded)
}
