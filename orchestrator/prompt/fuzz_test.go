package prompt_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Whatever a file holds, it is refused with a word on what to do, or read into prompts of
// different ids that are the same when they are written and read again.
func FuzzRead(f *testing.F) {
	for _, file := range files {
		f.Add([]byte(file.content))
	}
	for _, text := range []string{"\xff\xfea\x00", "prompt\n\"", "[[", "{\"prompt\":\"\\ud83d\"}", "\x1f\x8b", "{\"messages\":\"[{\\\"role\\\":\\\"user\\\"}]\"}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := prompt.Read("-", prompt.ReadOptions{Stdin: bytes.NewReader(data)})
		if err != nil {
			if !strings.HasSuffix(err.Error(), ")") {
				t.Errorf("nothing to do about it: %v", err)
			}
			return
		}
		seen := map[string]bool{}
		for _, r := range records {
			if seen[r.ID] || r.ID == "" || (r.Text == "") == (r.Messages == nil) {
				t.Errorf("%+v", r)
			}
			seen[r.ID] = true
		}
		written := lines(t, records)
		again, err := prompt.Read("-", prompt.ReadOptions{Stdin: strings.NewReader(written)})
		if err != nil || lines(t, again) != written {
			t.Errorf("%s\nread again: %v\n%s", written, err, lines(t, again))
		}
	})
}
