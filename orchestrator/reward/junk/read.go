package junk

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// ReadFile reads answers from a file; see [Read].
func ReadFile(path string, records []prompt.Record) (answered []Answered, left int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, fmt.Errorf("read the answers: %w (check the path)", err)
	}
	defer f.Close()
	return Read(f, path, records)
}

// Read reads answers to prompts: JSON lines with an "id" (or "prompt_id") and a "text" (or
// "response"), and a "finish" if it is known. It also returns the number of prompts that have
// none.
func Read(r io.Reader, name string, records []prompt.Record) (answered []Answered, left int, err error) {
	at := map[string]int{}
	all := make([]Answered, len(records))
	for i, p := range records {
		at[p.ID] = i
		all[i].Prompt = p
	}
	in := json.NewDecoder(bufio.NewReader(r))
	for n := 1; ; n++ {
		var line struct {
			ID       json.RawMessage `json:"id"`
			PromptID json.RawMessage `json:"prompt_id"`
			Text     *string         `json:"text"`
			Response *string         `json:"response"`
			Finish   string          `json:"finish"`
		}
		if err := in.Decode(&line); err == io.EOF {
			break
		} else if err != nil {
			return nil, 0, fmt.Errorf(`read the answers: %s, record %d: %w (each is a JSON object with "id" and "text")`, name, n, err)
		}
		id, text := line.ID, cmp.Or(line.Text, line.Response)
		if id == nil {
			id = line.PromptID
		}
		if id == nil || text == nil {
			return nil, 0, fmt.Errorf(`read the answers: %s, record %d: it has no "id" or no "text" (give each answer both)`, name, n)
		}
		if i, ok := at[strings.Trim(string(id), `"`)]; ok {
			all[i].Answers = append(all[i].Answers, Answer{*text, line.Finish})
		}
	}
	for _, a := range all {
		if len(a.Answers) > 0 {
			answered = append(answered, a)
		}
	}
	if len(answered) == 0 {
		return nil, 0, fault.New("read the answers", "prompts", nil, `give {prompts} that are answered, under the same ids`, "%s answers none of the %d prompts", name, len(records))
	}
	return answered, len(all) - len(answered), nil
}
