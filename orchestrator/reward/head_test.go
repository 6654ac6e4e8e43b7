package reward

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// A head's path and its model's may have an @ in them.
func TestSplitHead(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a@b.gguf")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for argument, want := range map[string][2]string{
		"h.gguf@m.gguf":    {"h.gguf", "m.gguf"},
		file + "@m.gguf":   {file, "m.gguf"},
		file + "@m@n.gguf": {file, "m@n.gguf"},
		"x@h.gguf@m.gguf":  {"x@h.gguf", "m.gguf"},
		"h.gguf":           {"", ""},
		"h.gguf@":          {"h.gguf", ""},
		"@m.gguf":          {"", "m.gguf"},
	} {
		if path, of := splitHead(argument); path != want[0] || of != want[1] {
			t.Errorf("%s: got %q and %q, want %q", argument, path, of, want)
		}
	}
}

// A head is known by its content: what another says of the same model is another reward.
func TestHead(t *testing.T) {
	const lab = "../../testdata/lab/summarize-s.gguf"
	path := filepath.Join(t.TempDir(), "head.gguf")
	open := func(bias float32) (Model, Info) {
		h := head.Head{Trunk: head.Trunk{Width: 128}, Layers: []head.Layer{{In: 128, Out: 1, Weight: make([]float32, 128), Bias: []float32{bias}}}}
		if err := h.Save(path); err != nil {
			t.Fatal(err)
		}
		m, err := Open("2*head:"+path+"@"+lab+" - length:3", Options{})
		if err != nil {
			t.Fatal(err)
		}
		return m, m.Info()
	}
	m, info := open(7)
	defer m.Close()
	record := prompt.Record{ID: "a", Text: "So?"}
	scores, err := m.Score(context.Background(), []Item{{Prompt: record, Response: "a red bell"}, {Prompt: record, Response: strings.Repeat("bell ", 5000)}})
	if err != nil || scores[0].Err != nil || scores[0].Value != 13 {
		t.Errorf("got %+v, %v", scores, err)
	}
	if err := scores[1].Err; err == nil || !strings.Contains(err.Error(), "head:") {
		t.Errorf("got %v", err)
	}
	if err := Check(context.Background(), m, []prompt.Record{{ID: "long", Text: strings.Repeat("bell ", 5000)}}); err == nil || !strings.Contains(err.Error(), `prompt "long"`) {
		t.Errorf("got %v", err)
	}
	again, same := open(7)
	defer again.Close()
	other, different := open(8)
	defer other.Close()
	if same != info || different.Fingerprint == info.Fingerprint || different.Name != info.Name {
		t.Errorf("%+v, %+v and %+v", info, same, different)
	}
	if m, err := Open(info.Name, Options{}); err != nil || m.Close() != nil {
		t.Errorf("%s: %v", info.Name, err)
	}
}
