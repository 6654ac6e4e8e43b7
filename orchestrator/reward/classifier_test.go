package reward_test

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/testclassifier"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// ids are BERT's tokens of words.
func ids(words ...string) (out []int32) {
	for _, w := range words {
		out = append(out, int32(5+slices.Index(testclassifier.Words, w)))
	}
	return out
}

func score(t *testing.T, spec string, items ...reward.Item) []reward.Score {
	t.Helper()
	m, err := reward.Open(spec, reward.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	got, err := m.Score(t.Context(), items)
	if err != nil || len(got) != len(items) {
		t.Fatal(got, err)
	}
	return got
}

// A classifier of several classes reads the response and gives a class's probability, a reranker reads
// prompt and response and gives its output: as BERT in plain Go does with the tokens written by hand.
func TestClassifier(t *testing.T) {
	dir := t.TempDir()
	feeling, reranker := filepath.Join(dir, "feeling@.gguf"), filepath.Join(dir, "reranker.gguf")
	classes, err := testclassifier.BERT(feeling, []string{"bad", "good"}, true, 2)
	if err != nil {
		t.Fatal(err)
	}
	output, err := testclassifier.BERT(reranker, nil, false, 1)
	if err != nil {
		t.Fatal(err)
	}
	item := reward.Item{Prompt: prompt.Record{Text: "The film?"}, Response: "the film was good"}
	talk := reward.Item{Prompt: prompt.Record{Messages: []llama.Message{{Role: "system", Content: "a"}, {Role: "user", Content: "the film"}}}, Response: "very dull"}
	const cls, sep, unknown = 2, 3, 1
	got := score(t, "cls:good@"+feeling, item, talk)
	for i, text := range [][]int32{ids("the", "film", "was", "good"), ids("very", "dull")} {
		out := classes(slices.Concat([]int32{cls}, text, []int32{sep}))
		if want := 1 / (1 + math.Exp(out[0]-out[1])); got[i].Err != nil || !(math.Abs(got[i].Value-want) < 0.02) {
			t.Errorf("item %d: got %v, want %v", i, got[i], want)
		}
	}
	got = score(t, "cls:"+reranker, item, talk)
	for i, text := range [][]int32{
		slices.Concat([]int32{cls}, ids("the", "film"), []int32{unknown, sep}, ids("the", "film", "was", "good"), []int32{sep}),
		slices.Concat([]int32{cls}, ids("a", "the", "film"), []int32{sep}, ids("very", "dull"), []int32{sep}),
	} {
		if want := output(text)[0]; got[i].Err != nil || !(math.Abs(got[i].Value-want) < 0.02) {
			t.Errorf("pair %d: got %v, want %v", i, got[i], want)
		}
	}
	long := reward.Item{Prompt: prompt.Record{Text: "x"}, Response: strings.Repeat("good ", testclassifier.Context)}
	if got := score(t, "cls:good@"+feeling, long, item); got[0].Err == nil || got[1].Err != nil {
		t.Errorf("got %v", got)
	}
	for spec, want := range map[string]string{
		"cls":                  "no argument of cls",
		"cls:" + feeling:       "knows the classes bad, good (give the reward as cls:LABEL@MODEL.gguf",
		"cls:great@" + feeling: "knows the classes bad, good",
		"cls:../../testdata/lab/summarize-s.gguf":      "has no classifier head",
		"cls:good@" + filepath.Join(dir, "none.gguf"):  "none.gguf",
		"cls:" + filepath.Join(dir, "none.gguf") + "@": "no argument of cls",
	} {
		if m, err := reward.Open(spec, reward.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want %q", spec, m, err, want)
		}
	}
}

// A Qwen3 reranker reads both in its template, in which what they spell is text; with one output it
// would say 1 of everything, and is refused.
func TestQwen3Reranker(t *testing.T) {
	dir := t.TempDir()
	path, trunk, one := filepath.Join(dir, "reranker.gguf"), filepath.Join(dir, "trunk.gguf"), filepath.Join(dir, "one.gguf")
	const vocabulary = "../../testdata/lab/summarize-s.gguf"
	if _, err := testclassifier.Qwen3(path, trunk, vocabulary, []string{"yes", "no"}); err != nil {
		t.Fatal(err)
	}
	if _, err := testclassifier.Qwen3(one, trunk, vocabulary, nil); err != nil {
		t.Fatal(err)
	}
	item := reward.Item{Prompt: prompt.Record{Text: "i bought a bell"}, Response: "bought bell</s>"}
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	c, err := m.NewClassifier(llama.ClassifierParams{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tokens, err := m.Tokenize("query: i bought a bell\ndocument: bought bell</s>\nanswer:", true, false)
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.Classify([][]int32{tokens})
	if err != nil {
		t.Fatal(err)
	}
	if got := score(t, "cls:"+path, item)[0]; got.Err != nil || math.Abs(got.Value-float64(want[0][0])) > 1e-3 {
		t.Errorf("got %v, want %v", got, want[0])
	}
	if got := score(t, "cls:no@"+path, item)[0]; math.Abs(got.Value-float64(want[0][1])) > 1e-3 {
		t.Errorf("got %v, want %v", got, want[0])
	}
	if _, err := reward.Open("cls:"+one, reward.Options{}); err == nil || !strings.Contains(err.Error(), "it is 1 for every text") {
		t.Errorf("got %v", err)
	}
}
