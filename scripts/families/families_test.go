package main

import (
	"log/slog"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/internal/testfamily"
)

func init() { slog.SetLogLoggerLevel(slog.LevelError) }

// Whatever a family does is what separate decoding gives, and docs/models.md says what it does not.
func TestFamilies(t *testing.T) {
	lines := make([]line, len(testfamily.Families))
	for i, f := range testfamily.Families {
		t.Run(f.Architecture, func(t *testing.T) {
			if testing.Short() && f.Architecture != "gemma3" && f.Architecture != "granitehybrid" && f.Architecture != "mamba" {
				t.Skip("one of each memory will do")
			}
			var err error
			if lines[i], err = try(f); err != nil {
				t.Error(err)
			}
			t.Log(table(lines[i : i+1]))
		})
	}
	if t.Failed() || testing.Short() {
		return
	}
	doc, err := os.ReadFile("../../docs/models.md")
	if err != nil {
		t.Fatal(err)
	}
	_, committed, _, err := section(string(doc))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(committed, table(lines)); d != "" {
		t.Errorf("go run ./scripts/families docs/models.md: docs/models.md (-) and what is so (+)\n%s", d)
	}
}
