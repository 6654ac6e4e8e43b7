package prompt_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

func inUTF16(s string) string {
	var b strings.Builder
	for _, u := range utf16.Encode([]rune(s)) {
		b.Write([]byte{byte(u), byte(u >> 8)})
	}
	return b.String()
}

// Each file gives these records, as JSON lines.
var files = []struct{ name, content, want string }{
	{"ids", "{\"id\":\"a\",\"prompt\":\"x\"}\n\n{\"prompt\":\"y\",\"gold\":{\"task\":\"t\"}}", `{"id":"a","prompt":"x"}
{"id":"3","prompt":"y","gold":{"task":"t"}}`},
	{"numbers as ids", `{"id":1,"prompt":"x"}` + "\n" + `{"id":2.50,"prompt":"y"}` + "\n" + `{"id":null,"prompt":"z"}`, `{"id":"1","prompt":"x"}
{"id":"2.50","prompt":"y"}
{"id":"3","prompt":"z"}`},
	{"made-up ids keep clear", "{\"prompt\":\"x\"}\n{\"id\":\"1\",\"prompt\":\"y\"}\n{\"id\":\"1-2\",\"prompt\":\"z\"}", `{"id":"1-3","prompt":"x"}
{"id":"1","prompt":"y"}
{"id":"1-2","prompt":"z"}`},
	{"mark and CRLF", "\ufeff{\"prompt\":\"x\\r\\ny\"}\r\n{\"prompt\":\"y\"}\r\n", `{"id":"1","prompt":"x\r\ny"}
{"id":"2","prompt":"y"}`},
	{"array", "\n[{\"prompt\":\"x\"},\n {\"id\":7,\n\"prompt\":\"y\"}]\n", `{"id":"1","prompt":"x"}
{"id":"7","prompt":"y"}`},
	{"fields as they were", `{"prompt":"x","n":1e3,"deep":{"b":[1, 2],"a":null},"text":"t"}`, `{"id":"1","prompt":"x","deep":{"b":[1,2],"a":null},"n":1e3,"text":"t"}`},
	{"surrogates in pairs", `{"prompt":"\ud83d\ude00 \\ud83d"}`, `{"id":"1","prompt":"😀 \\ud83d"}`},

	{"table", "id,prompt,label\n1,\"a \"\"b\"\",\r\nc\",safe\n\n,d,\"\"\n", `{"id":"1","prompt":"a \"b\",\nc","label":"safe"}
{"id":"2","prompt":"d","label":""}`},
	{"semicolons", "\ufeffprompt;n\r\na,b;1\r\n", `{"id":"1","prompt":"a,b","n":"1"}`},
	{"tabs", "n\tquestion\n1\ta,b\n", `{"id":"1","prompt":"a,b","n":"1","question":"a,b"}`},
	{"cells without anything", "messages,prompt,question\n,,q\n,p,\n\"[{\"\"role\"\":\"\"user\"\"}]\",,\n", `{"id":"1","prompt":"q","question":"q"}
{"id":"2","prompt":"p","question":""}
{"id":"3","messages":[{"role":"user","content":""}],"prompt":"","question":""}`},
	{"messages in a cell", "messages\n\"[{\"\"role\"\":\"\"user\"\",\"\"content\"\":\"\"x\"\"}]\"\n", `{"id":"1","messages":[{"role":"user","content":"x"}]}`},

	{"messages", `{"messages":[{"role":"user","content":"x"}],"k":1}`, `{"id":"1","messages":[{"role":"user","content":"x"}],"k":1}`},
	{"an answered conversation", `{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}]}`, `{"id":"1","messages":[{"role":"user","content":"x"}],"answer":"y"}`},
	{"what templates read", `{"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image"}]},{"tool_calls":[{"b":1,"a":2}],"content":null,"role":"assistant"},{"role":"tool","tool_call_id":"7","content":"y"}]}`,
		`{"id":"1","messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image"}]},{"role":"assistant","content":null,"tool_calls":[{"b":1,"a":2}]},{"role":"tool","content":"y","tool_call_id":"7"}]}`},
	{"prompt of messages", `{"prompt":[{"role":"user","content":"x"}],"chosen":"y","rejected":"z"}`, `{"id":"1","messages":[{"role":"user","content":"x"}],"chosen":"y","rejected":"z"}`},
	{"messages beside a prompt", `{"prompt":"p","messages":[{"role":"user","content":"x"}]}`, `{"id":"1","messages":[{"role":"user","content":"x"}],"prompt":"p"}`},
	{"no messages beside a prompt", `{"prompt":"p","messages":null}`, `{"id":"1","prompt":"p"}`},
	{"from and value", `{"conversations":[{"from":"system","value":"s"},{"from":"human","value":"x"},{"from":"gpt","value":"y"}]}`, `{"id":"1","messages":[{"role":"system","content":"s"},{"role":"user","content":"x"}],"answer":"y","conversations":[{"from":"system","value":"s"},{"from":"human","value":"x"},{"from":"gpt","value":"y"}]}`},
	{"instruction", `{"instruction":"i","input":"","output":"o"}`, `{"id":"1","prompt":"i","input":"","instruction":"i","output":"o"}`},
	{"instruction and input", `{"instruction":"i","input":"n"}`, `{"id":"1","prompt":"i\n\nn","input":"n","instruction":"i"}`},
	{"instruction and instances", `{"instruction":"i","instances":[{"input":"n","output":"o"}]}`, `{"id":"1","prompt":"i\n\nn","instances":[{"input":"n","output":"o"}],"instruction":"i"}`},
	{"question", `{"question":"q","answer":"#### 1"}`, `{"id":"1","prompt":"q","answer":"#### 1","question":"q"}`},
	{"turns", `{"turns":["a","b"]}`, `{"id":"1","prompt":"a","turns":["a","b"]}`},
	{"text", `{"text":"t"}`, `{"id":"1","prompt":"t","text":"t"}`},
	{"a pair of texts", `{"chosen":"Sum up.\nTL;DR: a cat","rejected":"Sum up.\nTL;DR: a cow"}`, `{"id":"1","prompt":"Sum up.\nTL;DR: a","chosen":"Sum up.\nTL;DR: a cat","rejected":"Sum up.\nTL;DR: a cow"}`},
	{"a pair, one of which goes on", `{"chosen":"TL;DR: ça","rejected":"TL;DR: ça va"}`, `{"id":"1","prompt":"TL;DR: ça","chosen":"TL;DR: ça","rejected":"TL;DR: ça va"}`},
	{"a pair that differs within a character", `{"chosen":"« é","rejected":"« è"}`, `{"id":"1","prompt":"«","chosen":"« é","rejected":"« è"}`},
	{"a pair of dialogues", `{"chosen":"\n\nHuman: a\n\nAssistant: b\n\nc\n\nHuman: d\n\nHuman: e\n\nAssistant: f","rejected":"\n\nHuman: a\n\nAssistant: b\n\nc\n\nHuman: d\n\nHuman: e\n\nAssistant: g"}`,
		`{"id":"1","messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b\n\nc"},{"role":"user","content":"d\n\ne"}],"chosen":"\n\nHuman: a\n\nAssistant: b\n\nc\n\nHuman: d\n\nHuman: e\n\nAssistant: f","rejected":"\n\nHuman: a\n\nAssistant: b\n\nc\n\nHuman: d\n\nHuman: e\n\nAssistant: g"}`},
	{"a pair of lists", `{"chosen":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"rejected":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}]}`,
		`{"id":"1","messages":[{"role":"user","content":"a"}],"chosen":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"rejected":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}]}`},
}

// lines are records as JSON lines.
func lines(t *testing.T, records []prompt.Record) string {
	var b bytes.Buffer
	for _, r := range records {
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestRead(t *testing.T) {
	for _, tc := range files {
		path := filepath.Join(t.TempDir(), "prompts")
		if err := os.WriteFile(path, []byte(tc.content), 0o644); err != nil {
			t.Fatal(err)
		}
		records, err := prompt.Read(path, prompt.ReadOptions{})
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, lines(t, records)); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}

		// The same through gzip and standard input.
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		w.Write([]byte(tc.content))
		w.Close()
		again, err := prompt.Read("-", prompt.ReadOptions{Stdin: &packed})
		if diff := cmp.Diff(records, again); diff != "" || err != nil {
			t.Errorf("%s, packed: %v %s", tc.name, err, diff)
		}
		// What was read is read from JSON lines once more.
		var back prompt.Record
		if err := json.Unmarshal([]byte(strings.Split(lines(t, records), "\n")[0]), &back); err != nil || lines(t, []prompt.Record{back}) != lines(t, records[:1]) {
			t.Errorf("%s: read again: %v %v", tc.name, back, err)
		}
		if again, err := prompt.Read("-", prompt.ReadOptions{Stdin: strings.NewReader(lines(t, records))}); err != nil || lines(t, again) != lines(t, records) {
			t.Errorf("%s: written and read: %v %v", tc.name, lines(t, again), err)
		}
	}
}

func TestReadErrors(t *testing.T) {
	for _, tc := range []struct{ content, want string }{
		{"", "holds no prompts"},
		{"\n", "holds no prompts"},
		{"[]", "holds no prompts"},
		{"prompt\n", "holds no prompts"},
		{"{\"prompt\":\"x\"}\nhello\n", ":2: not a prompt: invalid character 'h'"},
		{"{\"prompt\":\"x\"}\n{\"prompt\":\n\"y\"}\n", ":2: not a prompt: the JSON object does not end on this line"},
		{"{\"prompt\":\"x\"}\n[1]\n", ":2: not a prompt: a list, not an object"},
		{"{\"prompt\":\"x\"}\n3\n", ":2: not a prompt: a number, not an object"},
		{"hello\nyou\n", ":1: not a prompt: neither JSON nor a head line of CSV with a column for the prompt: \"hello\""},
		{"{\"id\":\"a\"}\n", ":1: the prompt is missing or empty"},
		{"{\"prompt\":\"\"}\n", ":1: the prompt is missing or empty"},
		{"{\"prompt\":3}\n", ":1: prompt: a number, not a text"},
		{"{\"id\":[],\"prompt\":\"x\"}\n", ":1: the id is a list"},
		{"{\"id\":true,\"prompt\":\"x\"}\n", ":1: the id is true or false"},
		{"{\"id\":\"2\",\"prompt\":\"x\"}\n{\"id\":2,\"prompt\":\"y\"}\n", `:2: id "2" was used on line 1`},
		{"{\"messages\":[]}", "no message to be answered"},
		{"{\"messages\":{}}", "messages: an object, not a list"},
		{"{\"messages\":[1]}", "message 1 is a number"},
		{"{\"messages\":[{\"content\":\"x\"}]}", "message 1: a message has no role"},
		{"{\"messages\":[{\"role\":1,\"content\":\"x\"}]}", "the role of a message is a number"},
		{"{\"messages\":[{\"role\":\"user\",\"content\":1}]}", "the content of a message is a number"},
		{"{\"messages\":[{\"role\":\"user\",\"content\":[1]}]}", "but not of parts"},
		{"{\"messages\":[{\"role\":\"assistant\",\"content\":\"x\"}]}", "no message to be answered"},
		{"{\"chosen\":\"x\"}", "chosen: without a prompt"},
		{"{\"chosen\":\"x\",\"rejected\":\"y\"}", "chosen: the two texts do not begin alike"},
		{"{\"chosen\":\"Human: x\",\"rejected\":\"Human: y\"}", "chosen: the two conversations do not begin alike"},
		{"[{\"prompt\":\"x\"},\n{\"prompt\"]", ":2: not JSON"},
		{"[{\"prompt\":\"x\"},\n", ":2: not JSON: it ends before the array does"},
		{"[{\"prompt\":\"x\"}]\n[]", "more after the end of the array"},
		{"[{\"prompt\":\"x\"},\n\"y\"]", ":2: not a prompt: a text, not an object"},
		{"prompt,n\na\n", ":2: not CSV: wrong number of fields"},
		{"prompt,n\na,b\"\n", ":2: not CSV: bare \""},
		{"prompt,prompt\na,b\n", "two columns are called \"prompt\""},
		{"n,m\na,b\n", "neither JSON nor a head line"},
		{"{\"prompt\":\"\\ud83d x\"}", `:1: \ud83d is half of a character`},
		{"{\"prompt\":\"x\"}\n{\"prompt\":\"y\",\"f\":\"\\ude00\"}", `:2: \ude00 is half of a character`},
		{"{\"prompt\":\"\\ud83d\\ud83d\\ude00\"}", `\ud83d is half of a character`},
		{"{\"prompt\":\"x\"}\n{\"prompt\":\"y\xff\"}", ":2: byte 0xff in column 13 is no UTF-8"},
		{"\xff\xfe" + inUTF16(`{"prompt":"x"}`), ":1: text in UTF-16, by its byte order mark"},
		{inUTF16(`{"prompt":"x"}`), ":1: text in UTF-16"},
		{"{\"prompt\":\"x\"}\n\x00", ":2: a zero byte"},
		{"GGUF\x03", "a model"},
		{"PAR1\x15", "a Parquet file"},
		{"\x1f\x8bno", "no gzip after all"},
	} {
		_, err := prompt.Read("-", prompt.ReadOptions{Stdin: strings.NewReader(tc.content)})
		switch {
		case err == nil || !strings.Contains(err.Error(), tc.want):
			t.Errorf("%q: got %v, want %q", tc.content, err, tc.want)
		case regexp.MustCompile(`Go |map\[|json:|string\b`).MatchString(err.Error()):
			t.Errorf("%q: Go's words: %v", tc.content, err)
		case !strings.HasSuffix(err.Error(), ")"):
			t.Errorf("%q: nothing to do about it: %v", tc.content, err)
		}
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write([]byte(`{"prompt":"x"}`))
	w.Close()
	for _, cut := range []int{5, packed.Len() - 6} {
		if _, err := prompt.Read("-", prompt.ReadOptions{Stdin: bytes.NewReader(packed.Bytes()[:cut])}); err == nil {
			t.Errorf("the first %d bytes of %d were read", cut, packed.Len())
		}
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir(), "-"} {
		if _, err := prompt.Read(path, prompt.ReadOptions{}); err == nil {
			t.Errorf("%s was read", path)
		}
	}
}

func TestReadText(t *testing.T) {
	const want = "i lost a hat.\nTL;DR:"
	for _, content := range []string{want, want + "\n", "\ufeff" + want + "\n", strings.ReplaceAll(want, "\n", "\r\n") + "\r\n"} {
		if got, err := prompt.ReadText("-", prompt.ReadOptions{Stdin: strings.NewReader(content)}); got != want || err != nil {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	for content, want := range map[string]string{
		"":                        "it is empty",
		"\ufeff\r\n":              "it is empty",
		"a\nb\xe9\n":              ":2: byte 0xe9 in column 2 is no UTF-8",
		"\xff\xfe" + inUTF16("a"): "UTF-16",
	} {
		if got, err := prompt.ReadText("-", prompt.ReadOptions{Stdin: strings.NewReader(content)}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
}

// Whatever a conversation holds, JSON brings it back.
func TestRecordJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[a-zé"\\<😀\n]*`)
		raw := rapid.Map(text, func(s string) json.RawMessage {
			b, _ := json.Marshal(map[string]any{"x": s, "y": []any{nil, 1}})
			return b
		})
		want := prompt.Record{ID: text.Draw(t, "id"), Text: text.Draw(t, "text")}
		if rapid.Bool().Draw(t, "conversation") {
			want.Text = ""
			for range rapid.IntRange(1, 3).Draw(t, "messages") {
				m := llama.Message{Role: text.Draw(t, "role"), Content: text.Draw(t, "content")}
				if rapid.Bool().Draw(t, "calls") {
					m.Fields = map[string]json.RawMessage{"tool_calls": raw.Draw(t, "field")}
				}
				want.Messages = append(want.Messages, m)
			}
		}
		if rapid.Bool().Draw(t, "fields") {
			want.Fields = map[string]json.RawMessage{"gold": raw.Draw(t, "field")}
		}
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(want); err != nil {
			t.Fatal(err)
		}
		var got prompt.Record
		if err := json.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		var w bytes.Buffer
		enc = json.NewEncoder(&w)
		enc.SetEscapeHTML(false)
		enc.Encode(got)
		if w.String() != b.String() || got.ID != want.ID || got.Text != want.Text || len(got.Messages) != len(want.Messages) {
			t.Errorf("%s\n%s", b.String(), w.String())
		}
	})
}
