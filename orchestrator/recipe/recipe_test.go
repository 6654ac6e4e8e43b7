package recipe_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/internal/jsongrammar"
	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// want is a comment in a bad recipe: a problem of its line, or of another one, that is to be found.
var want = regexp.MustCompile(`# want( \d+)?: (.*?)(?: *# want|$)`)

type problem struct {
	line int
	text string
}

func wanted(text string) (out []problem) {
	for i, line := range strings.Split(text, "\n") {
		for {
			m := want.FindStringSubmatchIndex(line)
			if m == nil {
				break
			}
			p := problem{i + 1, strings.TrimSpace(line[m[4]:m[5]])}
			if m[2] >= 0 {
				p.line, _ = strconv.Atoi(strings.TrimSpace(line[m[2]:m[3]]))
			}
			out = append(out, p)
			line = line[m[5]:]
		}
	}
	return out
}

// Every problem of a bad recipe is told, on its line, and no other.
func TestBadRecipes(t *testing.T) {
	t.Chdir("testdata")
	paths, err := filepath.Glob("bad/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			x, err := recipe.Open(context.Background(), path, recipe.Options{})
			var problems *recipe.Problems
			if !errors.As(err, &problems) {
				t.Fatal(x, err)
			}
			left := append([]recipe.Problem(nil), problems.List...)
		wanted:
			for _, w := range wanted(string(text)) {
				for i, p := range left {
					if p.Line == w.line && strings.Contains(p.Text, w.text) {
						left = append(left[:i], left[i+1:]...)
						continue wanted
					}
				}
				t.Errorf("line %d: no problem %q", w.line, w.text)
			}
			for _, p := range left {
				t.Errorf("not expected: %v", p)
			}
			for _, p := range problems.List {
				if !strings.HasSuffix(p.Text, ")") {
					t.Errorf("it does not say what to do: %v", p)
				}
			}
		})
	}
}

// A plain prompt is the same as a conversation of one user message where chat says so, and only there.
func TestOverlapOfForms(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"text.jsonl": `{"prompt": "the sea"}`, "messages.jsonl": `{"messages": [{"role": "user", "content": "the sea "}]}`,
		"asked.jsonl": `{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the sea"}]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		chat        bool
		train, test string
		overlap     bool
	}{
		{true, "text", "messages", true}, {true, "messages", "text", true}, {false, "text", "messages", false}, {false, "messages", "messages", true},
		{true, "text", "text", true}, {true, "text", "asked", false},
	} {
		path := filepath.Join(dir, "recipe.yaml")
		text := fmt.Sprintf("model: nowhere.gguf\nprompts: {train: %s/%s.jsonl, test: %s/%s.jsonl}\nencoding: {chat: %t}\nreward: sentiment\nmethods: [{id: base, strategy: sample}]\n", dir, c.train, dir, c.test, c.chat)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := recipe.Open(context.Background(), path, recipe.Options{}); err == nil || strings.Contains(err.Error(), "prompts.test and prompts.train overlap") != c.overlap {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// Seeds that cannot be read are told, and what else is wrong is looked for as if there were some.
func TestSeeds(t *testing.T) {
	t.Chdir("testdata")
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	for _, seeds := range []string{"0", "abc", "", "{a: 1}", "-1", "[]", "[x]", "[[1]]", "9223372036854775808", "[9223372036854775808]"} {
		text := "model: ../../../testdata/lab/summarize-s.gguf\nprompts: {test: prompts.jsonl}\nreward: sentiment\nseeds: " + seeds +
			"\nvalues: {words: {reward: sentiment}, lost: 'nowhere-{seed}.gguf'}\npolicies: {other: other.gguf}\nmethods: [{id: base, strategy: sample}, {id: words, value: words, strategy: tokenwise}]\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := recipe.Open(context.Background(), path, recipe.Options{})
		var problems *recipe.Problems
		if !errors.As(err, &problems) || len(problems.List) != 3 || !strings.HasPrefix(problems.List[0].String(), "line 4: seeds") {
			t.Errorf("seeds: %s: %v", seeds, err)
		}
	}
}

// However many variations the sweeps of a method come to, there are too many.
func TestSweepsOverflow(t *testing.T) {
	var values []string
	for i := range 16 {
		values = append(values, strconv.Itoa(i+1))
	}
	list := ": [" + strings.Join(values, ", ") + "]"
	sixteen := func(keys ...string) string {
		return "{method: block-beam, " + strings.Join(keys, list+", ") + list + "}"
	}
	sampling := strings.Replace(sixteen("temp", "top_k", "top_p", "min_p", "repeat_last_n", "repeat_penalty", "frequency_penalty", "presence_penalty", "min_tokens"), "method: block-beam, ", "", 1)
	method := "{id: vast, strategy: " + sixteen("beams", "block", "proposal", "rollouts", "rollout_tokens") + ", sampling: " + sampling + ", samples" + list + ", best_of" + list + "}" // 16^16 = 2^64
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	text := "model: m.gguf\nprompts: {test: p.jsonl}\nreward: sentiment\nmethods: [{id: base, strategy: sample}, " + method + "]\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := recipe.Read(path); err == nil || !strings.Contains(err.Error(), "come to more than 1000 variations") {
		t.Error(err)
	}
}

// What this machine cannot do is no problem of what others draw.
func TestFleet(t *testing.T) {
	t.Chdir("testdata")
	_, err := recipe.Open(context.Background(), "bad/large.yaml", recipe.Options{Fleet: true})
	if err == nil || strings.Contains(err.Error(), "this machine has") || !strings.Contains(err.Error(), "prompts") {
		t.Error(err)
	}
}

func TestUnfolded(t *testing.T) {
	t.Chdir("testdata")
	x, err := recipe.Open(context.Background(), "good.yaml", recipe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	type variation struct {
		ID, Entry, Family string
		Settings          []recipe.Setting
		K                 int
		Beta              float64
		BestOf            int
	}
	var got []variation
	for _, m := range x.Methods {
		got = append(got, variation{m.ID, m.Entry, m.Family, m.Settings, m.Strategy.Guide.TopK, m.Strategy.Guide.Beta, m.BestOf})
	}
	set := func(names ...string) (out []recipe.Setting) {
		for i := 0; i < len(names); i += 2 {
			out = append(out, recipe.Setting{Name: names[i], Value: names[i+1]})
		}
		return out
	}
	if diff := cmp.Diff([]variation{
		{"base", "base", "base", nil, 20, 2, 1},
		{"best of 2", "best of {best_of}", "best of n", set("best_of", "2"), 20, 2, 2},
		{"best of 4", "best of {best_of}", "best of n", set("best_of", "4"), 20, 2, 4},
		{"words k=2 beta=1", "words", "words", set("k", "2", "beta", "1"), 2, 1, 1},
		{"words k=2 beta=2", "words", "words", set("k", "2", "beta", "2"), 2, 2, 1},
		{"words k=4 beta=1", "words", "words", set("k", "4", "beta", "1"), 4, 1, 1},
		{"words k=4 beta=2", "words", "words", set("k", "4", "beta", "2"), 4, 2, 1},
	}, got); diff != "" {
		t.Error(diff)
	}
	m := x.Methods[6]
	draw, guide, err := x.Draw(&m, 1)
	if err != nil {
		t.Fatal(err)
	}
	if draw.Strategy.Method != decode.MethodTokenwise || draw.ValueBy == nil || guide.Identity == "" || draw.Reference != nil || m.Choose.MaxKL != 4 {
		t.Errorf("%+v, guided by %+v", draw, guide)
	}
	if len(x.Rewards) != 3 || len(x.Seeds) != 3 || len(x.Policies[0].Test) != 2 || len(x.Policies[0].Validation) != 1 {
		t.Errorf("%d rewards, seeds %v", len(x.Rewards), x.Seeds)
	}
}

// What answers may be made of and how long thoughts may be is the recipe's, or a method's own.
func TestConstraints(t *testing.T) {
	t.Chdir("testdata")
	x, err := recipe.Open(context.Background(), "constraints.yaml", recipe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	type drawn struct {
		ID       string
		Temp     float64
		Grammar  string
		End      bool
		Least    int
		Thoughts int
	}
	of := func(schema string) string {
		t.Helper()
		grammar, err := jsongrammar.Of([]byte(schema))
		if err != nil {
			t.Fatal(err)
		}
		return grammar
	}
	schema := of(`{"type": "object", "properties": {"b": {"const": 1}, "a": {"enum": ["x", "2"]}}, "required": ["b", "a"]}`)
	for i, want := range []drawn{
		{"base", 1, schema, true, 0, 3},
		{"text temp=0.5", 0.5, of(`{"enum": ["y"]}`), true, 0, 3},
		{"text temp=1", 1, of(`{"enum": ["y"]}`), true, 0, 3},
		{"words", 1, `root ::= "z"`, false, 2, 3},
		{"budget reasoning_budget=0", 1, schema, true, 0, 0},
		{"budget reasoning_budget=5", 1, schema, true, 0, 5},
	} {
		m := &x.Methods[i]
		p, _, err := x.Draw(m, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got := (drawn{m.ID, p.Sampling.Temp, p.Sampling.Grammar, !p.Sampling.IgnoreEOS, p.Sampling.MinTokens, p.Thoughts.Budget}); !cmp.Equal(got, want) || !p.Thoughts.Limited {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if b := p.Sampling.LogitBias; len(b) != 2 || b[8] != 1.5 || !math.IsInf(float64(b[7]), -1) {
			t.Errorf("%s: biases %v", m.ID, b)
		}
	}
}

// Penalties that are set look back on 64 tokens where nothing else is said; what sets none stays as it was.
func TestSampling(t *testing.T) {
	t.Chdir("testdata")
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	plain := policy.Sampling{Temp: 0.7}
	with := func(s policy.Sampling) policy.Sampling { s.Temp = 0.7; return s }
	for _, c := range []struct {
		recipe, method string
		base, want     policy.Sampling
	}{
		{"{}", "{}", plain, plain},
		{"{repeat_penalty: 1, frequency_penalty: 0}", "{}", with(policy.Sampling{RepeatPenalty: 1}), with(policy.Sampling{RepeatPenalty: 1})},
		{"{repeat_penalty: 1.1}", "{}", with(policy.Sampling{RepeatPenalty: 1.1, RepeatLastN: 64}), with(policy.Sampling{RepeatPenalty: 1.1, RepeatLastN: 64})},
		{"{presence_penalty: 1, repeat_last_n: -1}", "{}", with(policy.Sampling{PresencePenalty: 1, RepeatLastN: -1}), with(policy.Sampling{PresencePenalty: 1, RepeatLastN: -1})},
		{"{repeat_last_n: 0, presence_penalty: 1}", "{presence_penalty: 2}", with(policy.Sampling{PresencePenalty: 1}), with(policy.Sampling{PresencePenalty: 2})},
		{"{}", "{frequency_penalty: 0.5}", plain, with(policy.Sampling{FrequencyPenalty: 0.5, RepeatLastN: 64})},
		{"{}", "{frequency_penalty: 0.5, repeat_last_n: 0}", plain, with(policy.Sampling{FrequencyPenalty: 0.5})},
		{"{}", "{repeat_last_n: [7], repeat_penalty: 2}", plain, with(policy.Sampling{RepeatPenalty: 2, RepeatLastN: 7})},
		{"{}", "{repeat_penalty: [1]}", plain, with(policy.Sampling{RepeatPenalty: 1})},
		{"{logit_bias: {5: 1}}", "{logit_bias: {6: -1}}", with(policy.Sampling{LogitBias: map[int32]number.Float{5: 1}}), with(policy.Sampling{LogitBias: map[int32]number.Float{5: 1, 6: -1}})},
		{"{}", "{top_k: 1000000}", plain, with(policy.Sampling{TopK: 1000000})},
	} {
		text := "model: m.gguf\nprompts: {test: prompts.jsonl}\nreward: sentiment\nsampling: " + c.recipe + "\nmethods: [{id: base, strategy: sample}, {id: 'other {samples}', strategy: sample, samples: [2, 4], sampling: " + c.method + "}]\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := recipe.Read(path)
		if err != nil {
			t.Errorf("%s, a method's %s: %v", c.recipe, c.method, err)
			continue
		}
		for i, want := range []policy.Sampling{c.base, c.want, c.want} {
			m := r.Methods[i]
			if d := cmp.Diff(want, m.Sampling); d != "" || m.Samples != []int{1, 2, 4}[i] || !strings.HasPrefix(m.ID, []string{"base", "other 2", "other 4"}[i]) {
				t.Errorf("%s, a method's %s: %s of %d samples (-want +got):\n%s", c.recipe, c.method, m.ID, m.Samples, d)
			}
		}
		if d := cmp.Diff(c.base, r.Sampling); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.recipe, d)
		}
	}
}

// The recipe that docs/formats.md shows is one.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```yaml\n")
	example, _, found := strings.Cut(rest, "```")
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	if err := os.WriteFile(path, []byte(example), 0o644); err != nil || !found {
		t.Fatal(found, err)
	}
	r, err := recipe.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Methods) != 1+4+2*3 || len(r.Values) != 3 || r.Rerolls != 16 {
		t.Errorf("%d methods, %d values", len(r.Methods), len(r.Values))
	}
}

// What was learned in a run from prompts that are tested on is refused; prompts.train may have them.
func TestLearnedOnTested(t *testing.T) {
	dir := t.TempDir()
	d, err := run.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	learned := []prompt.Record{{ID: "7", Text: "a good sea "}, {ID: "8", Text: "one town"}}
	if err := run.PutLines(d, run.PromptsFile, "key", nil, nil, learned); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		run.OptionsFile: "rounds: 1\n", "iter-01/head.gguf": "none", run.Rescored("gold-1"): "none", "first.jsonl": `{"prompt": "a good sea"}`, "other.jsonl": `{"id": "7", "prompt": "a sea"}`,
	} {
		if err := errors.Join(d.Make(name), os.WriteFile(d.Path(name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		value, train, test string
		refused            bool
	}{
		{"DIR/iter-01/head.gguf", "DIR/other.jsonl", "DIR/first.jsonl", true},
		{"DIR/rewards/gold-1/head.gguf", "DIR/other.jsonl", "DIR/first.jsonl", true},
		{"{run: DIR}", "DIR/other.jsonl", "DIR/first.jsonl", true},
		{"{run: DIR}", "DIR/first.jsonl", "DIR/other.jsonl", false},
	} {
		path := filepath.Join(dir, "recipe.yaml")
		text := fmt.Sprintf("model: ../../testdata/lab/summarize-s.gguf\nprompts: {train: %s, test: %s}\nreward: sentiment\nvalues: {v: %s}\nmethods: [{id: base, strategy: sample}]\n", c.train, c.test, c.value)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := recipe.Open(context.Background(), path, recipe.Options{})
		if err == nil {
			t.Fatal("a head that is none was opened")
		}
		if says := strings.Contains(err.Error(), "values.v: it was learned from prompts of prompts.test: "+dir+"/first.jsonl:1 has the text of prompt 7"); says != c.refused {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
