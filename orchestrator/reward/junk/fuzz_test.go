package junk_test

import (
	"bytes"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/junk"
)

// Whatever a file of answers holds, it is refused, or each answer is one to a prompt that is there.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"id":"a","text":"b","finish":"stop"}` + "\n" + `{"prompt_id":1,"response":"c"}`))
	records := []prompt.Record{{ID: "a", Text: "x"}, {ID: "1", Text: "y"}}
	f.Fuzz(func(t *testing.T, data []byte) {
		answered, left, err := junk.Read(bytes.NewReader(data), "file", records)
		if err == nil && len(answered)+left != len(records) {
			t.Errorf("%d prompts answered, %d not", len(answered), left)
		}
	})
}
