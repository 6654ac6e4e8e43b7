package prompt_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

func TestRead(t *testing.T) {
	for _, tc := range []struct {
		name, content, wantErr string
		wantIDs                []string
	}{
		{name: "ids", content: "{\"id\":\"a\",\"prompt\":\"x\"}\n\n{\"prompt\":\"y\",\"gold\":{\"task\":\"t\"}}", wantIDs: []string{"a", "3"}},
		{name: "empty", content: "\n", wantErr: "holds no prompts"},
		{name: "bad line", content: "{\"prompt\":\"x\"}\nhello\n", wantErr: ":2: not a prompt"},
		{name: "no text", content: "{\"id\":\"a\"}\n", wantErr: ":1: the prompt is missing"},
		{name: "duplicate", content: "{\"id\":\"2\",\"prompt\":\"x\"}\n{\"prompt\":\"y\"}\n", wantErr: `:2: id "2" was used on line 1`},
		{name: "long line", content: strings.Repeat("x", 17<<20), wantErr: "longer than 16 MiB"},
	} {
		path := filepath.Join(t.TempDir(), "prompts.jsonl")
		if err := os.WriteFile(path, []byte(tc.content), 0o644); err != nil {
			t.Fatal(err)
		}
		prompts, err := prompt.Read(path, prompt.ReadOptions{})
		if tc.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("%s: got error %v, want %q", tc.name, err, tc.wantErr)
			}
			continue
		}
		var ids []string
		for _, p := range prompts {
			ids = append(ids, p.ID)
		}
		if err != nil || !slices.Equal(ids, tc.wantIDs) {
			t.Errorf("%s: got %v, %v; want %v", tc.name, ids, err, tc.wantIDs)
		}
	}
	if _, err := prompt.Read(filepath.Join(t.TempDir(), "none"), prompt.ReadOptions{}); err == nil {
		t.Error("a missing file was read")
	}
	if _, err := prompt.Read(t.TempDir(), prompt.ReadOptions{}); err == nil {
		t.Error("a folder was read")
	}
}
