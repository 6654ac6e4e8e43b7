package inspect_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
)

const lab = "../../testdata/lab/summarize-s.gguf"

// A finding says the same as JSON and for people. What it quotes of a file cannot command a terminal.
func TestModel(t *testing.T) {
	f, err := gguf.Read(lab)
	if err != nil {
		t.Fatal(err)
	}
	var tensors []gguf.Tensor
	for _, tensor := range f.Tensors {
		data, err := f.ReadF32(tensor.Name)
		if err != nil {
			t.Fatal(err)
		}
		tensors = append(tensors, gguf.Tensor{Name: tensor.Name, Shape: tensor.Shape, Data: data})
	}
	for i := range f.KVs {
		if f.KVs[i].Key == "general.name" {
			f.KVs[i].Value = "evil\x1b]0;title\a"
		}
	}
	path := filepath.Join(t.TempDir(), "evil.gguf")
	if err := gguf.Write(path, f.KVs, tensors); err != nil {
		t.Fatal(err)
	}
	for most, want := range map[int]int{100: 100, 4096: 256} { // trained with 256
		found, err := inspect.Path(t.Context(), path, inspect.Options{MostCtx: most})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(found)
		if err != nil {
			t.Fatal(err)
		}
		var m inspect.Model
		if err := json.Unmarshal(data, &m); err != nil {
			t.Fatal(err)
		}
		if m.Kind != "model" || m.Parameters != 1197440 || m.Memory.Context != want || m.Name != "evil\x1b]0;title\a" {
			t.Errorf("%s", data)
		}
		var b bytes.Buffer
		if err := found.Write(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "evil\uFFFD]0;title\uFFFD\n") || !strings.Contains(b.String(), "1.20 million") {
			t.Error(b.String())
		}
	}
}

func TestNothingToInspect(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "text": "a text of some length, no model at all"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		"none": "no such file", "empty": "is empty", "text": "text", "": "not a run directory",
	} {
		f, err := inspect.Path(t.Context(), filepath.Join(dir, path), inspect.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), ")") {
			t.Errorf("%q: %v, %v", path, f, err)
		}
	}
}
