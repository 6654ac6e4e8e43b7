package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
)

// llama.cpp is a component by its commit or release, and the program depends on it.
func TestComponent(t *testing.T) {
	for build, version := range map[string]string{
		"embedded llama.cpp ec98e2002 (module github.com/ollama/ollama v0.17.4)": "ec98e2002", "b11434.native.290e1adb": "b11434", "the system's": "",
	} {
		if got := component(build)["version"]; got != version {
			t.Errorf("%s is version %v", build, got)
		}
	}
	if component(llama.Build())["description"] == "llama.cpp and ggml:" {
		t.Error("this build says nothing of its llama.cpp")
	}
	bom := map[string]any{
		"metadata": map[string]any{"component": map[string]any{"bom-ref": "ivo"}}, "components": []any{"a"},
		"dependencies": []any{map[string]any{"ref": "ivo", "dependsOn": []any{"a"}}},
	}
	c := map[string]any{"bom-ref": "c"}
	if err := add(bom, "1", c); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"component": map[string]any{"bom-ref": "ivo", "version": "1"}}, bom["metadata"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{"a", c}, bom["components"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]any{map[string]any{"ref": "ivo", "dependsOn": []any{"a", "c"}}, map[string]any{"ref": "c"}}, bom["dependencies"]); diff != "" {
		t.Error(diff)
	}
	if add(map[string]any{}, "", c) == nil {
		t.Error("nothing is added to, and that is no error")
	}
}
