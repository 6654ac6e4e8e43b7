package prompt

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
)

// maxLine bounds one line of a prompt file, in bytes.
const maxLine = 16 << 20

// ReadOptions say how files of prompts are read.
type ReadOptions struct {
	Stdin io.Reader // what the path - stands for
}

// Read reads a file of JSON lines, {"id": "...", "prompt": "...", "gold": {...}}.
// Blank lines are skipped; a missing id becomes the line's number.
func Read(path string, o ReadOptions) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read prompts: %w (give a file of JSON lines with a \"prompt\" field)", err)
	}
	defer f.Close()
	var prompts []Record
	lineOf := map[string]int{}
	line := 0
	fail := func(msg, hint string) error {
		return fmt.Errorf("read prompts: %s:%d: %s (%s)", path, line, msg, hint)
	}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line++
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		var p Record
		if err := json.Unmarshal(text, &p); err != nil {
			return nil, fail("not a prompt: "+err.Error(), `each line is one JSON object such as {"id": "1", "prompt": "..."}`)
		}
		if p.Text == "" {
			return nil, fail("the prompt is missing or empty", `put the text in the field "prompt"`)
		}
		if p.ID == "" {
			p.ID = strconv.Itoa(line)
		}
		if first, ok := lineOf[p.ID]; ok {
			return nil, fail(fmt.Sprintf("id %q was used on line %d already", p.ID, first), "give each prompt an id of its own, or none")
		}
		lineOf[p.ID] = line
		prompts = append(prompts, p)
	}
	if err := lines.Err(); err != nil {
		line++
		if errors.Is(err, bufio.ErrTooLong) {
			return nil, fail(fmt.Sprintf("the line is longer than %d MiB", maxLine>>20), "put each prompt on a line of its own")
		}
		return nil, fail(err.Error(), "check that the path is a file that can be read")
	}
	if len(prompts) == 0 {
		return nil, fmt.Errorf("read prompts: %s holds no prompts (write one JSON object a line, with the text in the field \"prompt\")", path)
	}
	return prompts, nil
}
