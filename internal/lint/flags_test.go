package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// flagless are the folders whose texts may not name a flag: who runs them may have none.
var flagless = []string{"llama", "valuehead", "orchestrator", "internal"}

// mayName are texts that look like flags of ours and are not, by file.
var mayName = map[string][]string{
	"internal/atomicfile/atomicfile.go": {"ulimit -f"},
	"llama/jinja/globals.go":            {"-m"}, // strftime: a month without zeros before it
}

var flagLike = regexp.MustCompile("(?:^|[\\s(\\[{'\"`=/,:])(--?)([A-Za-z][A-Za-z0-9-]*)")

// TestNoFlagsBelowTheCommandLine holds that errors and other texts below cli name settings (see
// internal/fault): two dashes and a word are a flag, and so are one dash and a flag's short name.
func TestNoFlagsBelowTheCommandLine(t *testing.T) {
	short := shortFlags(t)
	if !slices.Contains(short, "ngl") || !slices.Contains(short, "p") {
		t.Fatalf("found the short names %q only", short)
	}
	for _, dir := range flagless {
		eachNode(t, filepath.Join("../..", dir), func(path string, n ast.Node, at token.Position) {
			lit, ok := n.(*ast.BasicLit)
			if !ok {
				return
			}
			said := text(t, lit)
			for _, allowed := range mayName[path] {
				said = strings.ReplaceAll(said, allowed, "")
			}
			for _, m := range flagLike.FindAllStringSubmatch(said, -1) {
				if m[1] == "--" || slices.Contains(short, m[2]) {
					t.Errorf("%s:%d names a flag, %s%s (name a setting in braces, see internal/fault): %q", path, at.Line, m[1], m[2], said)
				}
			}
		})
	}
}

var braced = regexp.MustCompile(`\{[a-z_]+\}`)

// TestHintsNameSettings holds that what hints have in braces are settings.
func TestHintsNameSettings(t *testing.T) {
	settings := fault.Fields()
	check := func(path string, at token.Position, hint string) {
		for _, name := range braced.FindAllString(hint, -1) {
			if !slices.Contains(settings, fault.Field(strings.Trim(name, "{}"))) {
				t.Errorf("%s:%d names %s, which is no setting of internal/fault: %q", path, at.Line, name, hint)
			}
		}
	}
	for _, dir := range flagless {
		eachNode(t, filepath.Join("../..", dir), func(path string, n ast.Node, at token.Position) {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if isIdent(n.Key, "Hint") {
					check(path, at, text(t, n.Value))
				}
			case *ast.CallExpr:
				if f, ok := n.Fun.(*ast.SelectorExpr); ok && isIdent(f.X, "fault") && f.Sel.Name == "New" {
					check(path, at, text(t, n.Args[3]))
					if field := text(t, n.Args[1]); field != "" {
						check(path, at, "{"+field+"}")
					}
				}
			}
		})
	}
}

// shortFlags are the names in cli that take one dash.
func shortFlags(t *testing.T) []string {
	var names []string
	collect := func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok {
			names = append(names, text(t, lit))
		}
		return true
	}
	paths, err := filepath.Glob("../../cli/*.go")
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	for _, path := range paths {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.KeyValueExpr:
				if isIdent(n.Key, "Aliases") {
					ast.Inspect(n.Value, collect)
				}
			case *ast.CallExpr: // of what makes flags of a kind
				if f, ok := n.Fun.(*ast.Ident); ok && strings.HasSuffix(f.Name, "Flag") {
					for _, arg := range n.Args {
						collect(arg)
					}
				}
			}
			return true
		})
	}
	return names
}

func isIdent(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && id.Name == name
}

// text is what a string literal says, empty of other expressions.
func text(t *testing.T, e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return ""
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eachNode calls f for every node of the Go files below dir, but for tests and tags of fields.
func eachNode(t *testing.T, dir string, f func(path string, n ast.Node, at token.Position)) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name := filepath.ToSlash(strings.TrimPrefix(path, "../../"))
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok {
				field.Tag = nil
			}
			if n != nil {
				f(name, n, set.Position(n.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
