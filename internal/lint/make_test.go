package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	makeTest = regexp.MustCompile(`(?m)^\t(.*)\$\(GO\) test .* \./(\S+)$`)
	setting  = regexp.MustCompile(`\bIVO_[A-Z_]+=`)
)

// What the Makefile asks of a package's tests by a variable of the environment, its tests read: a name that they do not know would
// have them skipped without a word.
func TestMakeSetsWhatTestsRead(t *testing.T) {
	data, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, line := range makeTest.FindAllStringSubmatch(string(data), -1) {
		for _, name := range setting.FindAllString(line[1], -1) {
			asked++
			if name = strings.TrimSuffix(name, "="); !testsRead(t, line[2], name) {
				t.Errorf("make sets %s for %s, whose tests do not read it: %s", name, line[2], line[0])
			}
		}
	}
	if asked < 5 {
		t.Errorf("found %d variables only", asked)
	}
}

// testsRead says whether the tests of a package read a variable of the environment.
func testsRead(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), `os.Getenv("`+name+`")`)
	})
}
