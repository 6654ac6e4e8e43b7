package winrate

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Pair are two answers to a prompt.
type Pair struct {
	Prompt prompt.Record
	Sample int // its number, where there are several to a prompt
	A, B   Answer
}

// Answer is one of them.
type Answer struct {
	Text   string
	Finish string // why it ended, "" where that is not known
}

// answered is a line of a file of answers.
type answered struct {
	prompt prompt.Record
	sample int
	Answer
}

type key struct {
	id     string
	sample int
}

// Read pairs the answers of two files, JSON lines as ivo generate writes them: "id", "sample", "prompt" or
// "messages", and "text". Those to other prompts than the other file's, or than the records, if there are
// any, are left out and counted; records bring what a reward needs beside the answer. The files of a run's
// evaluation are read too, whose prompts only the records know. The pairs are in the order of the first
// file.
func Read(pathA, pathB string, records []prompt.Record) (pairs []Pair, left int, err error) {
	as, err := readAnswers(pathA)
	if err != nil {
		return nil, 0, err
	}
	bs, err := readAnswers(pathB)
	if err != nil {
		return nil, 0, err
	}
	known := map[string]prompt.Record{}
	for _, r := range records {
		known[r.ID] = r
	}
	other := map[key]answered{}
	for _, b := range bs {
		other[key{b.prompt.ID, b.sample}] = b
	}
	left = len(bs)
	for _, a := range as {
		b, ok := other[key{a.prompt.ID, a.sample}]
		p := Pair{a.prompt, a.sample, a.Answer, b.Answer}
		if r, in := known[a.prompt.ID]; in {
			p.Prompt = r
		} else {
			ok = ok && records == nil
		}
		if !ok {
			left++
			continue
		}
		if shown := a.prompt.Show(); shown != b.prompt.Show() && shown != "" && b.prompt.Show() != "" {
			return nil, 0, fault.New("read the answers", "", nil, "give answers to the same prompts", "%s and %s answer different prompts under the id %q", pathA, pathB, a.prompt.ID)
		}
		if answered, asked := cmp.Or(a.prompt.Show(), b.prompt.Show()), p.Prompt.Show(); answered != "" && asked != "" && answered != asked {
			return nil, 0, fault.New("read the answers", "prompts", nil, "give the {prompts} that were answered", "prompt %q is another one than %s and %s answer", a.prompt.ID, pathA, pathB)
		}
		left--
		p.Prompt.Fields = known[a.prompt.ID].Fields
		if p.Prompt.Messages == nil {
			p.Prompt.Text = cmp.Or(p.Prompt.Text, b.prompt.Text)
		}
		pairs = append(pairs, p)
	}
	if len(pairs) == 0 {
		return nil, 0, fault.New("read the answers", "prompts", nil, "give answers to the same {prompts}, under the same ids", "no prompt is answered in both %s and %s", pathA, pathB)
	}
	return pairs, left, nil
}

func readAnswers(path string) (all []answered, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the answers: %w (check the path)", err)
	}
	defer f.Close()
	fail := func(n int, hint, format string, args ...any) ([]answered, error) {
		return nil, fault.New("read the answers", "", nil, hint, "%s, record %d: "+format, append([]any{path, n}, args...)...)
	}
	seen := map[key]bool{}
	count := map[string]int{}
	in := json.NewDecoder(bufio.NewReader(f))
	for n := 1; ; n++ {
		var line struct {
			ID       json.RawMessage `json:"id"`
			PromptID json.RawMessage `json:"prompt_id"`
			Sample   *int            `json:"sample"`
			Prompt   string          `json:"prompt"`
			Messages []llama.Message `json:"messages"`
			Text     *string         `json:"text"`
			Response *string         `json:"response"`
			Finish   string          `json:"finish"`
			Key      string          `json:"key"`
		}
		if err := in.Decode(&line); err == io.EOF {
			return all, nil
		} else if err != nil {
			return fail(n, `each is a JSON object with "id" and "text"`, "%w", err)
		}
		raw, text := line.ID, cmp.Or(line.Text, line.Response)
		if raw == nil {
			raw = line.PromptID
		}
		if n == 1 && raw == nil && text == nil && line.Key != "" {
			continue // the stamp of a run's file
		}
		if raw == nil || text == nil {
			return fail(n, "give each answer both", `it has no "id" or no "text"`)
		}
		id := strings.Trim(string(raw), `"`)
		json.Unmarshal(raw, &id) // a number stays as it is written
		k := key{id: id}
		if line.Sample != nil {
			k.sample = *line.Sample
		} else {
			k.sample = count[id]
			count[id]++
		}
		if seen[k] {
			return fail(n, `number them by "sample"`, "it is another answer %d to %q", k.sample, id)
		}
		seen[k] = true
		all = append(all, answered{prompt.Record{ID: id, Text: line.Prompt, Messages: slices.Clip(line.Messages)}, k.sample, Answer{*text, line.Finish}})
	}
}
