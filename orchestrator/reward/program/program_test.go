package program

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func jobs(do ...string) (items []json.RawMessage) {
	for i, what := range do {
		item, err := json.Marshal(map[string]any{"id": fmt.Sprint("p", i), "do": what})
		if err != nil {
			panic(err)
		}
		items = append(items, item)
	}
	return items
}

// told spells an answer: its value, or "! " and its error.
func told(a Answer) string {
	if a.Err != nil {
		return "! " + a.Err.Error()
	}
	return fmt.Sprint(a.Value)
}

// compare sees whether each answer is the value that is wanted, or the error that contains it.
func compare(t *testing.T, answers []Answer, want []string) {
	t.Helper()
	if len(answers) != len(want) {
		t.Fatalf("%d answers to %d items", len(answers), len(want))
	}
	for i, w := range want {
		text, isErr := strings.CutPrefix(w, "! ")
		got := told(answers[i])
		if isErr && (answers[i].Err == nil || !strings.Contains(got, text)) || !isErr && got != w {
			t.Errorf("item %d: got %s\nwant %s", i, got, w)
		}
	}
}
