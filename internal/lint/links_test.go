package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.*)$`)
	fence   = regexp.MustCompile("(?ms)^```.*?^```")
)

// TestLinksLeadSomewhere holds that the documents' links to files and headings of the repository
// find them.
func TestLinksLeadSomewhere(t *testing.T) {
	var paths []string
	for _, pattern := range []string{"../../*.md", "../../docs/*.md"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, names...)
	}
	prose := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%v", err)
		}
		return fence.ReplaceAllString(string(text), "")
	}
	found := 0
	for _, path := range paths {
		for _, m := range link.FindAllStringSubmatch(prose(path), -1) {
			file, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(file, ":") {
				continue // elsewhere
			}
			found++
			to := path
			if file != "" {
				to = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %s leads nowhere", path, m[0])
				continue
			}
			if anchor != "" && !hasHeading(prose(to), anchor) {
				t.Errorf("%s: %s leads to no heading", path, m[0])
			}
		}
	}
	if found == 0 {
		t.Error("no links were found")
	}
}

// hasHeading says whether a heading's anchor, as GitHub makes it, is the one given.
func hasHeading(text, anchor string) bool {
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		if strings.ReplaceAll(name, " ", "-") == anchor {
			return true
		}
	}
	return false
}
