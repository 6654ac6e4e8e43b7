package llama_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

// tryGrammar puts a text to the checker and, if that takes it, to llama.cpp, and follows it
// for a few tokens. It says whether the checker took it.
func tryGrammar(t testing.TB, m *llama.Model, text string, rng *rand.Rand) bool {
	t.Helper()
	if llama.CheckGrammar(text, "") != nil {
		return false
	}
	g, err := m.NewGrammar(text, "")
	if err != nil {
		if s := err.Error(); !strings.Contains(s, "is not a token of") && !strings.Contains(s, "is not one of") && !strings.Contains(s, "ends the response") {
			t.Fatalf("%q: %v", text, err)
		}
		return false
	}
	defer g.Close()
	for range 2 {
		allowed := mask(t, m, g)
		if len(allowed) == 0 {
			break
		}
		token := allowed[rng.IntN(len(allowed))]
		h, err := g.Clone()
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		for _, x := range []*llama.Grammar{g, h} {
			if err := x.Accept(token); err != nil {
				t.Fatalf("%q: token %d: %v", text, token, err)
			}
		}
		if !slices.Equal(mask(t, m, g), mask(t, m, h)) {
			t.Fatalf("%q: a clone masks otherwise after token %d", text, token)
		}
		h.Close()
	}
	return true
}

// grammarDrawer draws grammars: well-formed, but not all of them sound.
type grammarDrawer struct{ *rand.Rand }

func (d grammarDrawer) one(of ...string) string { return of[d.IntN(len(of))] }

// alternatives refer to rules by the given names, and after a text to any.
func (d grammarDrawer) alternatives(depth int, names ...string) string {
	var alts []string
	for range 1 + d.IntN(3) {
		var items []string
		if d.IntN(8) > 0 {
			items = append(items, d.item(depth, names...))
		}
		for range d.IntN(3) {
			if d.IntN(12) == 0 {
				items = append(items, `","`, d.one("root", "x"))
			}
			items = append(items, d.item(depth, names...))
		}
		if len(items) == 0 {
			items = append(items, d.one(`""`, `""`, "", `"a"{0}`))
		}
		alts = append(alts, strings.Join(items, " "))
	}
	return strings.Join(alts, " | ")
}

func (d grammarDrawer) item(depth int, names ...string) string {
	s := ""
	switch k := d.IntN(20); {
	case k < 7:
		s = d.one(`"a"`, `"ab"`, `" b"`, `"\u6c34\n"`, `"\"\\"`, `"🙂"`)
	case k < 10:
		s = d.one(`[a-c]`, `[^a\]]`, `[-é]`, `.`, `[\x00-\x1f]`, `[^水]`)
	case k < 11:
		s = d.one("<s>", "<[100]>", "!<[100]>", "<unk>", "</s>")
	case k < 15 || depth == 0:
		s = d.one(names...)
	default:
		s = "(" + d.one("", "\n ") + d.alternatives(depth-1, names...) + d.one("", " # c\n") + ")"
	}
	if d.IntN(3) == 0 {
		s += d.one("?", "?", "*", "+", "{2}", "{1,3}", "{0,2}", "{2,}", "{1,}", fmt.Sprintf("{0,%d}", d.IntN(100)))
	}
	return s
}

func (d grammarDrawer) grammar() string {
	s := ""
	names := []string{"root", "x", "y", "z"}
	for i, name := range names {
		later := append(names[i+1:len(names):len(names)], `"c"`)
		if d.IntN(20) == 0 {
			later = names // and so perhaps the rule itself
		}
		s += name + " ::= " + d.alternatives(2, later...) + "\n"
	}
	return s
}

// mutate damages a grammar in a few places.
func (d grammarDrawer) mutate(s string) string {
	for range 1 + d.IntN(3) {
		i := d.IntN(len(s) + 1)
		j := min(i+d.IntN(6), len(s))
		switch d.IntN(4) {
		case 0:
			s = s[:i] + s[j:]
		case 1:
			s = s[:j] + s[i:j] + s[j:]
		case 2:
			s = s[:i] + d.one("(", ")", "|", "*", "+", "?", "{", "}", ",", "9", "[", "]", "^", "-", `"`, `\`, "<", ">", "!", "::=", "\n", "\r", "#", "\x00", "\xff", "水", "root", ".", `\x`, `\u00`) + s[j:]
		case 3:
			b := []byte(s)
			if i < len(b) {
				b[i] ^= 1 << d.IntN(7)
			}
			s = string(b)
		}
	}
	return s
}

func drawnGrammar(i int) (string, *rand.Rand) {
	rng := rand.New(rand.NewPCG(uint64(i), 7))
	d := grammarDrawer{rng}
	s := d.grammar()
	if i%2 == 1 {
		s = d.mutate(s)
	}
	return s, rng
}

// No grammar that the checker takes ends the process or is refused by llama.cpp. They
// are tried in a process of their own, since what goes wrong may end it.
func TestGrammarDrawn(t *testing.T) {
	const child, n = "IVO_TEST_GRAMMARS", 2500
	if os.Getenv(child) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGrammarDrawn$")
		cmd.Env = append(os.Environ(), child+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			var i int
			last := string(out[bytes.LastIndex(out, []byte("\ncase "))+1:])
			fmt.Sscanf(last, "case %d", &i)
			text, _ := drawnGrammar(i)
			t.Errorf("%v at %.2000s\ngrammar: %q", err, last, text)
		}
		return
	}
	m := load(t, randomModel(t, "llama", 1, nil))
	taken := 0
	for i := range n {
		text, rng := drawnGrammar(i)
		fmt.Printf("\ncase %d\n", i)
		if tryGrammar(t, m, text, rng) {
			taken++
		}
	}
	if taken < n/10 || taken > n/2 {
		t.Errorf("%d grammars of %d were taken", taken, n)
	}
}

func FuzzGrammar(f *testing.F) {
	files, err := filepath.Glob("testdata/grammar/*.gbnf")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for i := range 20 {
		text, _ := drawnGrammar(i)
		f.Add(text)
	}
	m := load(f, randomModel(f, "llama", 1, nil))
	f.Fuzz(func(t *testing.T, text string) {
		tryGrammar(t, m, text, rand.New(rand.NewPCG(1, uint64(len(text)))))
	})
}
