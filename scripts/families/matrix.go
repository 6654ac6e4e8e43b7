package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/testfamily"
	"github.com/ivo-decoding/ivo/llama"
)

// checks are the columns. Each gives nil where the family does it as separate decoding would, and the program's error where
// it refuses.
var checks = []struct {
	name string
	run  func(testfamily.Family, *llama.Model) error
}{
	{"decodes", decodes}, {"forks", forks}, {"trims", trims}, {"saves", saves}, {"states", states}, {"strategies", guided}, {"conversations", converses}, {"iterate", iterates},
}

// line is a family's row of the matrix.
type line struct {
	family testfamily.Family
	cells  []error // of loading, then of the checks; nil for yes
}

// try carries out all checks of a family. wrong is what differs from separate decoding.
func try(f testfamily.Family) (l line, wrong error) {
	l.family = f
	dir, err := os.MkdirTemp("", "ivo-families")
	if err != nil {
		return l, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, f.Architecture+".gguf")
	if err := f.Write(path, 1); err != nil {
		return l, err
	}
	m, err := llama.Load(path, llama.ModelParams{})
	if e := (*llama.Error)(nil); errors.As(err, &e) {
		e.Path = "MODEL"
	}
	if l.cells = append(l.cells, err); err != nil {
		return l, nil
	}
	defer m.Close()
	for _, c := range checks {
		err := c.run(f, m)
		if errors.Is(err, errDiffers) {
			wrong = errors.Join(wrong, fmt.Errorf("%s: %s: %w", f.Architecture, c.name, err))
		}
		l.cells = append(l.cells, err)
	}
	return l, wrong
}

// table writes lines in Markdown, with the errors below.
func table(lines []line) string {
	var b, notes strings.Builder
	fmt.Fprint(&b, "| architecture | models | memory | loads |")
	for _, c := range checks {
		fmt.Fprintf(&b, " %s |", c.name)
	}
	fmt.Fprintf(&b, "\n|---|---|---|---|%s\n", strings.Repeat("---|", len(checks)))
	var said []string // notes, equal ones once
	for _, l := range lines {
		fmt.Fprintf(&b, "| `%s` | %s | %s |", l.family.Architecture, l.family.Models, l.family.Memory)
		for i := range len(checks) + 1 {
			if i >= len(l.cells) {
				fmt.Fprint(&b, " |")
				continue
			}
			err := l.cells[i]
			if err == nil {
				fmt.Fprint(&b, " yes |")
				continue
			}
			n := slices.Index(said, err.Error())
			if n < 0 {
				n = len(said)
				said = append(said, err.Error())
				fmt.Fprintf(&notes, "%d. `%s`\n", n+1, err)
			}
			word := "no"
			if errors.As(err, new(partly)) {
				word = "partly"
			}
			fmt.Fprintf(&b, " %s (%d) |", word, n+1)
		}
		fmt.Fprintln(&b)
	}
	if len(said) > 0 {
		fmt.Fprintf(&b, "\n%s", notes.String())
	}
	return b.String()
}

// section is the place of the linked llama.cpp's table in a document.
func section(doc string) (before, within, after string, err error) {
	begin, end := "<!-- families: "+linked+" -->\n", "<!-- families: end -->"
	before, rest, ok := strings.Cut(doc, begin)
	within, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", "", "", fmt.Errorf("docs/models.md has no place marked %q", strings.TrimSpace(begin))
	}
	return before + begin, within, end + after, nil
}
