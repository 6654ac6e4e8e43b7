package reward

import (
	"bufio"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// record has the fields of a JSON object.
func record(t testing.TB, fields string) prompt.Record {
	t.Helper()
	p := prompt.Record{ID: "p7"}
	if fields != "" {
		if err := json.Unmarshal([]byte(fields), &p.Fields); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func open(t testing.TB, spec string) Model {
	t.Helper()
	m, err := Open(spec, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// Every value is worked out by hand from the formula of its reward.
func TestRules(t *testing.T) {
	dir := t.TempDir()
	schema := filepath.Join(dir, "person.json")
	if err := os.WriteFile(schema, []byte(`{"type": "object", "required": ["name"], "properties": {"age": {"type": "integer", "maximum": 150}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	norm := func(s float64) float64 { return s / math.Sqrt(s*s+15) }
	for _, tc := range []struct {
		spec, fields, response string
		want                   float64
	}{
		{"length:4", "", "", 0},
		{"length:4", "", "one two  three\nfour", 1},
		{"length:4w", "", "one two, three", .75},
		{"length:4", "", "1 2 3 4 5 6 7", .25},
		{"length:4", "", "1 2 3 4 5 6 7 8", 0},
		{"length:4", "", "1 2 3 4 5 6 7 8 9", 0},
		{"length:4c", "", "  äö😀\n", .75},
		{"length:1", "", "eins", 1},

		{"distinct", "", "", 0},
		{"distinct", "", "word", 0},
		{"distinct", "", "two words", 1},
		{"distinct", "", "go go, Go! go", 1. / 3},
		{"distinct:2", "", "the cat and the cat", 3. / 4},
		{"distinct:1", "", "the cat and the cat", 3. / 5},
		{"distinct:3", "", "don't don't", 0},
		{"distinct:1", "", "don't don’t do n't", 1},
		{"distinct:1", "", "... !!!", 0},

		{"regex:^[A-Z].*\\.$", "", "A sentence.", 1},
		{"regex:^[A-Z].*\\.$", "", "Two\nlines.", 0},
		{"regex:(?s)^[A-Z].*\\.$", "", "Two\nlines.", 1},
		{"regex:(?i)yes", "", "Oh YES", 1},
		{"regex:yes", "", "", 0},
		{"regex:x*", "", "", 1},
		{"regex", `{"pattern": "^no"}`, "no.", 1},
		{"regex", `{"pattern": "^no"}`, "yes.", 0},

		{"json", "", "", 0},
		{"json", "", " \n", 0},
		{"json", "", "{\"a\": [1, null]}\n", 1},
		{"json", "", "null", 1},
		{"json", "", "{} {}", 0},
		{"json", "", "{\"a\": 1,}", 0},
		{"json", "", "Here: {}", 0},
		{"json", "", "```json\n{}\n```", 0},
		{"json", "", "1e999999999", 1},
		{"json:fenced", "", "{}", 1},
		{"json:fenced", "", "```json\n{}\n```\n", 1},
		{"json:fenced", "", "``` JSON \r\n{}```", 1},
		{"json:fenced", "", "```\n{}\n```", 1},
		{"json:fenced", "", "```python\n{}\n```", 0},
		{"json:fenced", "", "Here:\n```json\n{}\n```", 0},
		{"json:fenced", "", "```json\n{}\n", 0},
		{"json:fenced", "", "```json {}```", 0},
		{"json:fenced", "", "```", 0},
		{"json:" + schema, "", "", 0},
		{"json:" + schema, "", `{"name": "Ada"`, 0},
		{"json:" + schema, "", `{"age": 3}`, .5},
		{"json:" + schema, "", `{"name": "Ada", "age": 36.0}`, 1},
		{"json:" + schema, "", `{"name": "Ada", "age": 36.5}`, .5},
		{"json:" + schema, "", `{"name": "Ada", "age": 1e999999999}`, .5},
		{"json:" + schema, "", `{"name": "Ada", "age": -1e-999999999}`, 1}, // 0 as a float64
		{"json:fenced:" + schema, "", "```json\n{\"name\": 3}\n```", 1},
		{"json:" + schema, `{"schema": false}`, `{"name": 3}`, 1},
		{"json", `{"schema": {"type": "array"}}`, "{}", .5},
		{"json", `{"json_schema": "{\"type\": \"array\"}"}`, "[]", 1},
		{"json", `{"schema": null, "json_schema": {"$ref": "#/$defs/a", "$defs": {"a": {"const": 1}}}}`, "1", 1},
		{"json", `{"schema": {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": true}}`, "3", .5},

		{"sentiment", "", "", 0},
		{"sentiment", "", "the table has four legs", 0},
		{"sentiment", "", "good", norm(1.9)},
		{"sentiment", "", "good\nbad", norm(1.9 - 2.5)},
		{"sentiment", "", "very good!", norm(1.9 + .293 + .292)},
		{"sentiment", "", "not good", norm(-.74 * 1.9)},
		{"sentiment", "", "bad but GOOD", norm(-2.5/2 + 1.5*(1.9+.733))},
		{"sentiment:compound", "", "a 😀", norm(1.5)},
		{"sentiment:pos", "", "good day", 2.9 / 3.9},
		{"sentiment:neg", "", "good day", 0},
		{"sentiment:neg", "", "bad day", 3.5 / 4.5},

		{"answer", `{"answer": "She has 3 + 4 = <<3+4=7>>7.\n#### 7"}`, "", 0},
		{"answer", `{"answer": "She has 3 + 4 = <<3+4=7>>7.\n#### 7"}`, "3 and 4 are 7.", 1},
		{"answer", `{"answer": "She has 3 + 4 = <<3+4=7>>7.\n#### 7"}`, "3 and 4 are 7. Or 8?", 0},
		{"answer", `{"answer": 42}`, "42", 1},
		{"answer", `{"answer": 42}`, "It is 42.0.", 1},
		{"answer", `{"answer": 42}`, "It is -42", 0},
		{"answer", `{"answer": 42}`, "It is forty-two", 0},
		{"answer", `{"answer": -3}`, "x = -3", 1},
		{"answer", `{"answer": -3}`, "so (−3)", 1},
		{"answer", `{"answer": 3}`, "5-3", 1},
		{"answer", `{"answer": 3}`, "5 - 3", 1},
		{"answer", `{"answer": 3}`, "a)-3", 1},
		{"answer", `{"answer": "-$5"}`, "It lost $-5.", 1},
		{"answer", `{"answer": "1,000"}`, "That makes $1000.00.", 1},
		{"answer", `{"answer": "1234567"}`, "1,234,567km", 1},
		{"answer", `{"answer": 1234567}`, `$1{,}234{,}567$`, 1},
		{"answer", `{"answer": 1234567}`, `1\,234\,567`, 1},
		{"answer", `{"answer": "5"}`, "They are 3,5", 1},
		{"answer", `{"answer": "3"}`, "They are 3,5", 0},
		{"answer", `{"answer": "50"}`, "50%", 1},
		{"answer", `{"answer": "1/2"}`, "0.5", 1},
		{"answer", `{"answer": "1/2"}`, ".50", 1},
		{"answer", `{"answer": "1/3"}`, `\boxed{\dfrac{1}{3}}`, 1},
		{"answer", `{"answer": "\\frac12"}`, `\boxed{0.5} of it, not 3`, 1},
		{"answer", `{"answer": "-1.5"}`, `-\frac{3}{2}`, 1},
		{"answer", `{"answer": "3000"}`, "3e3", 1},
		{"answer", `{"answer": 5}`, `\boxed{x = 5 \text{ cm}}`, 1},
		{"answer", `{"answer": 5}`, `\boxed{5} and \boxed{6}`, 0},
		{"answer", `{"answer": 5}`, `\boxed{5} and \boxed{6`, 1},
		{"answer", `{"answer": 5}`, `\boxed{2, 5}`, 0},
		{"answer", `{"answer": 5}`, "#### 5\n\nQuestion 2: 7?", 1},
		{"answer", `{"answer": 5}`, "#### Step 1\nIt is 5", 1},
		{"answer", `{"answer": 5}`, "5/0", 0},
		{"answer", `{"answer": "x^{2}+1"}`, `so \boxed{ x^{2} + 1 }.`, 1},
		{"answer", `{"answer": "10^{2}"}`, `\boxed{2}`, 0},
		{"answer", `{"answer": "\\{1, 2\\}"}`, `\boxed{\{1,2\}}`, 1},
		{"answer", `{"answer": "}"}`, `\boxed{\}}`, 0},
		{"answer", `{"answer": "Paris"}`, "paris.", 1},
		{"answer", `{"answer": "Paris"}`, "It is Paris", 0},
		{"answer", `{"answer": "Paris"}`, "It is\n#### Paris", 1},
		{"answer", `{"answer": "B"}`, "#### B) 12\n", 0},
		{"answer", `{"target": 4}`, "4", 1},
		{"answer", `{"solution": "We see that \\boxed{4}.", "answer": null}`, "4", 1},
		{"answer", `{"solution": 3, "answer": 4}`, "4", 1},
		{"answer:final", `{"final": 5, "answer": 4}`, "5", 1},
	} {
		m := open(t, tc.spec)
		item := Item{Prompt: record(t, tc.fields), Response: tc.response}
		if err := m.(Checker).Check(t.Context(), []prompt.Record{item.Prompt}); err != nil {
			t.Errorf("%s %s: %v", tc.spec, tc.fields, err)
		}
		got, err := m.Score(t.Context(), []Item{item})
		if err != nil || got[0].Err != nil || math.Abs(got[0].Value-tc.want) > 1e-12 {
			t.Errorf("%s %s of %q: got %v, %v, want %v", tc.spec, tc.fields, tc.response, got, err, tc.want)
		}
		if info := m.Info(); tc.want < info.Lo || tc.want > info.Hi {
			t.Errorf("%s: %v outside of %v to %v", tc.spec, tc.want, info.Lo, info.Hi)
		}
	}
}

// A record that lacks something costs its own scores only, and is found in advance.
func TestRulesNeed(t *testing.T) {
	for _, tc := range []struct{ spec, good, bad, want string }{
		{"regex", `{"pattern": "a"}`, ``, `no text in its field "pattern"`},
		{"regex", `{"pattern": "a"}`, `{"pattern": 3}`, `no text in its field "pattern"`},
		{"regex", `{"pattern": "a"}`, `{"pattern": "("}`, "missing closing )"},
		{"json", ``, `{"schema": 3}`, "schema"},
		{"json", ``, `{"json_schema": "{"}`, `"json_schema"`},
		{"json", ``, `{"schema": {"type": "text"}}`, "/type"},
		{"json", ``, `{"schema": {"$ref": "https://json.schemastore.org/package.json"}}`, "https://json.schemastore.org/package.json, which is not loaded"},
		{"json", ``, `{"schema": {"$ref": "file:///etc/passwd"}}`, "not loaded"},
		{"json", ``, `{"schema": {"$ref": "other.json"}}`, "not loaded"},
		{"json", ``, `{"schema": {"$schema": "file:///etc/passwd"}}`, "not loaded"},
		{"answer", `{"answer": 1}`, ``, "looked for answer, target, solution"},
		{"answer", `{"answer": 1}`, `{"answer": [1]}`, "neither a text nor a number"},
		{"answer", `{"answer": 1}`, `{"answer": " "}`, "no answer"},
		{"answer:final", `{"final": 1}`, `{"answer": 1}`, "looked for final"},
	} {
		m := open(t, tc.spec)
		good, bad := record(t, tc.good), record(t, tc.bad)
		scores, err := m.Score(t.Context(), []Item{{Prompt: bad, Response: "1"}, {Prompt: good, Response: "1"}})
		if err != nil || scores[1].Err != nil || scores[0].Err == nil || !strings.Contains(scores[0].Err.Error(), tc.want) {
			t.Errorf("%s %s: got %v, %v, want %q", tc.spec, tc.bad, scores, err, tc.want)
		}
		err = m.(Checker).Check(t.Context(), []prompt.Record{good, bad})
		if err == nil || !strings.Contains(err.Error(), `"p7"`) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %s: checked %v, want %q", tc.spec, tc.bad, err, tc.want)
		}
	}
}

func TestRulesRefuse(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	if err := os.WriteFile(bad, []byte(`{"$ref": "beside.json"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for spec, want := range map[string]string{
		"length":                     "length:60",
		"length:0":                   "length:60",
		"length:-3c":                 "length:60",
		"length:60t":                 `"60t"`,
		"distinct:0":                 "distinct:2",
		"distinct:x":                 `"x"`,
		"regex:(":                    "missing closing )",
		"regex:(?=a)":                "RE2",
		"sentiment:-1":               "sentiment:neg",
		"json:" + bad:                "beside.json, which is not loaded",
		"json:" + dir + "/none.json": "none.json",
		"json:fenced:" + dir:         "directory",
	} {
		if m, err := Open(spec, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %q", spec, m, err, want)
		}
	}
}

// Specs that score alike share a fingerprint, others and changed files have another.
func TestRuleFingerprints(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.json")
	write := func(schema string) {
		if err := os.WriteFile(file, []byte(schema), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	print := func(spec string) string { return open(t, spec).Info().Fingerprint }
	write("{}")
	var prints []string
	for _, same := range [][]string{
		{"length:60", "length:60w", "length:060"}, {"length:60c"}, {"length:61"},
		{"distinct", "distinct:2"}, {"distinct:3"},
		{"sentiment", "sentiment:compound"}, {"sentiment:pos"}, {"sentiment:neg"},
		{"regex"}, {"regex:a"}, {"regex:b"}, {"answer"}, {"answer:answer"},
		{"json"}, {"json:fenced"}, {"json:" + file}, {"json:fenced:" + file},
	} {
		for _, spec := range same[1:] {
			if print(spec) != print(same[0]) {
				t.Errorf("%s is not %s: %q and %q", spec, same[0], print(spec), print(same[0]))
			}
		}
		prints = append(prints, print(same[0]))
	}
	write("true")
	prints = append(prints, print("json:"+file))
	for i, p := range prints {
		if slices.Contains(prints[:i], p) {
			t.Errorf("%q stands for two rewards", p)
		}
	}
}

// The answers of GSM8K's test set score 1 with themselves: IVO_GSM8K is its file.
func TestAnswerGSM8K(t *testing.T) {
	path := os.Getenv("IVO_GSM8K")
	if path == "" {
		t.Skip("IVO_GSM8K names no file")
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, n := bufio.NewScanner(f), 0
	for ; lines.Scan(); n++ {
		p := record(t, lines.Text())
		var whole string
		if err := json.Unmarshal(p.Fields["answer"], &whole); err != nil {
			t.Fatal(err)
		}
		_, final, _ := strings.Cut(whole, "#### ")
		for _, response := range []string{whole, final, "The answer is " + final + ".", "so $x = \\boxed{" + final + "}$ dollars in 7 days"} {
			if !answers(response, mustGold(t, p)) {
				t.Errorf("line %d: %q does not answer %q", n+1, response, final)
			}
		}
		if answers(strings.ReplaceAll(whole, "#### "+final, "#### 1"+final), mustGold(t, p)) {
			t.Errorf("line %d: another number answers %q", n+1, final)
		}
	}
	if n < 1000 {
		t.Errorf("%d answers", n)
	}
}

func mustGold(t *testing.T, p prompt.Record) string {
	gold, err := goldAnswer(p, []string{"answer"})
	if err != nil {
		t.Fatal(err)
	}
	return gold
}

// Nothing that a model writes or a record brings makes a rule panic or leave its range.
func FuzzRules(f *testing.F) {
	f.Add("", "")
	f.Add("```json\n{\"a\": 1e99999999999}\n```", `{"multipleOf": 1e-999999, "minimum": 3}`)
	f.Add(`\boxed{\frac{1}{0}} -1,2,3/4e99 #### \boxed{`, `\boxed{{}`)
	f.Add("NO no kind of good but GOOD 😀\xff but never so good least", "(a+)+$")
	f.Add("[[[[1]]]]", `{"$ref": "#", "$schema": "x", "items": {"$ref": "#/items"}}`)
	specs := []string{"answer", "distinct", "json", "json:fenced", "length:3", "length:9c", "regex", "sentiment", "sentiment:pos", "sentiment:neg"}
	var models []Model
	for _, spec := range specs {
		models = append(models, open(f, spec))
	}
	f.Fuzz(func(t *testing.T, response, field string) {
		text, err := json.Marshal(field)
		if err != nil {
			t.Fatal(err)
		}
		fields := map[string]json.RawMessage{"answer": text, "pattern": text, "schema": text}
		for i, m := range models {
			scores, err := m.Score(t.Context(), []Item{{Prompt: prompt.Record{ID: "f", Fields: fields}, Response: response}})
			if err != nil {
				t.Fatalf("%s: %v", specs[i], err)
			}
			info := m.Info()
			if s := scores[0]; s.Err == nil && !(s.Value >= info.Lo && s.Value <= info.Hi) {
				t.Errorf("%s: %v", specs[i], s.Value)
			}
		}
	})
}
