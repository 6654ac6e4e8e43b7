// Package lint holds the house rules that the compiler does not.
package lint

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ivo-decoding/ivo/"

type pkg struct {
	ImportPath string
	Imports    []string
	CgoFiles   []string
}

// packages lists the module's packages.
func packages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,CgoFiles", module+"...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// rooms are the folders from the top down: a package may import its own room and
// those below it, except where apart says otherwise.
var rooms = [][]string{
	{"scripts/"},
	{"cli"},
	{"orchestrator/loop", "orchestrator/serve", "orchestrator/fleet", "orchestrator/report", "orchestrator/inspect", "orchestrator/recipe", "orchestrator/experiment", "orchestrator/tune"},
	{"orchestrator/eval", "orchestrator/rollout", "orchestrator/learn"},
	{"orchestrator/batch", "orchestrator/run", "orchestrator/chat"},
	{"orchestrator/decode", "orchestrator/reward"},
	{"orchestrator/value", "orchestrator/preference", "orchestrator/prompt", "orchestrator/policy"},
	{"orchestrator/engine", "orchestrator/cache", "orchestrator/think"},
	{"llama", "valuehead"},
	{"llama/hub"}, // files only: it may not know what is in them
	{"internal/"},
}

// apart are pairs of rooms that never meet.
var apart = [][2]string{{"llama", "valuehead"}, {"valuehead", "llama"}, {"orchestrator/decode", "orchestrator/reward"}, {"orchestrator/reward", "orchestrator/decode"}}

// room is the room of a package, the innermost when one lies in another.
func room(path string) (level int, name string) {
	level = -1
	for i, names := range rooms {
		for _, n := range names {
			if (path == n || strings.HasPrefix(path, strings.TrimSuffix(n, "/")+"/")) && len(n) > len(name) {
				level, name = i, n
			}
		}
	}
	return level, name
}

func TestImportsRunDownwards(t *testing.T) {
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		level, name := room(from)
		if level < 0 {
			t.Errorf("%s stands in no room of the house (see docs/decisions.md)", from)
			continue
		}
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			toLevel, toName := room(to)
			if toLevel < level || slices.Contains(apart, [2]string{name, toName}) {
				t.Errorf("%s imports %s", from, to)
			}
		}
	}
}

// The command line talks to people and calls rooms that do the work: those that decode and
// those that store are behind these.
func TestCommandLineStaysAbove(t *testing.T) {
	for _, p := range packages(t) {
		if p.ImportPath != module+"cli" {
			continue
		}
		for _, behind := range []string{"orchestrator/engine", "valuehead/states"} {
			if slices.Contains(p.Imports, module+behind) {
				t.Errorf("cli imports %s", behind)
			}
		}
	}
}

func TestOnlyLlamaKnowsC(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if len(p.CgoFiles) > 0 && path != "llama" && !strings.HasPrefix(path, "llama/") {
			t.Errorf("%s uses cgo: %v", path, p.CgoFiles)
		}
	}
}

// The embedded llama.cpp comes in through one package of its module; its other
// packages would bring in a server and seventy dependencies.
func TestOneWayInToLlamaCpp(t *testing.T) {
	const embedded = "github.com/ollama/ollama/"
	for _, p := range packages(t) {
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, embedded) && (imported != embedded+"llama/llama.cpp/src" || p.ImportPath != module+"llama") {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
		}
	}
}

// The command line is flags, help and printing: what grows beyond this belongs into a room below it.
func TestCommandLineIsSmall(t *testing.T) {
	const most = 4600 // lines without tests
	lines := 0
	err := filepath.WalkDir("../../cli", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		lines += bytes.Count(data, []byte("\n"))
		return err
	})
	if err != nil || lines >= most || lines == 0 {
		t.Errorf("cli has %d lines without tests, fewer than %d are asked for (%v)", lines, most, err)
	}
}
