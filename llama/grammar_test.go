package llama_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/llama"
)

const (
	unkToken, bosToken, eosToken = 0, 1, 2
	firstByte                    = 3 // token of the byte 0 in the test vocabulary
)

func grammar(t testing.TB, m *llama.Model, text string) *llama.Grammar {
	t.Helper()
	g, err := m.NewGrammar(text, "")
	if err != nil {
		t.Fatalf("%.80q: %v", text, err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func clone(t testing.TB, g *llama.Grammar) *llama.Grammar {
	t.Helper()
	c, err := g.Clone()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// mask returns the tokens of the vocabulary that may come next.
func mask(t testing.TB, m *llama.Model, g *llama.Grammar) (allowed []int32) {
	t.Helper()
	all := make([]int32, m.Info().Vocab)
	for i := range all {
		all[i] = int32(i)
	}
	may := make([]bool, len(all))
	if err := g.Mask(all, may); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(i int32) bool { return !may[i] })
}

func mayCome(t testing.TB, g *llama.Grammar, token int32) bool {
	t.Helper()
	var may [1]bool
	if err := g.Mask([]int32{token}, may[:]); err != nil {
		t.Fatal(err)
	}
	return may[0]
}

// Tokens without a text come only where they are named; a mask and what is accepted
// agree for every token.
func TestGrammarTokens(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	piece := func(i int32) string { p, _ := m.Piece(i, false); return string(p) }
	for _, c := range []struct {
		gbnf string
		want func(i int32) bool
	}{
		{`root ::= .+`, func(i int32) bool {
			return i > bosToken && i != eosToken && i != firstByte && i < firstByte+128 || i >= firstByte+0xC2 && i < firstByte+0xF5 || i >= firstByte+256
		}},
		{`root ::= "<s>" | "<unk>"`, func(i int32) bool { return piece(i) == "<" }},
		{`root ::= ""`, func(i int32) bool { return i == eosToken }},
		{`root ::= <s> "a"`, func(i int32) bool { return i == bosToken }},
		{`root ::= <[1]> | <[0]> "b"`, func(i int32) bool { return i == bosToken || i == unkToken }},
		{`root ::= <s>* "b"`, func(i int32) bool { return i == bosToken || piece(i) == "b" }},
		// llama.cpp takes no part of a character for another token
		{`root ::= !<[100]> "a"`, func(i int32) bool { return piece(i) != "" && i != 100 && utf8.ValidString(piece(i)) && i != firstByte }},
		// ab is a token, which a reference to any token but another matches only from its beginning
		{`root ::= "a" !<[100]>`, func(i int32) bool { return piece(i) == "a" }},
		{"root ::= \"\x01\"", func(i int32) bool { return i == firstByte+1 }},
	} {
		g := grammar(t, m, c.gbnf)
		allowed := mask(t, m, g)
		for i := range int32(testVocab) {
			if got, want := slices.Contains(allowed, i), c.want(i); got != want {
				t.Errorf("%s: token %d %q may come: %v", c.gbnf, i, piece(i), got)
			}
			h := clone(t, g)
			if err := h.Accept(i); (err == nil) != slices.Contains(allowed, i) {
				t.Errorf("%s: token %d %q: %v", c.gbnf, i, piece(i), err)
			}
			h.Close()
		}
	}
	for _, c := range []struct{ gbnf, want string }{
		{"root ::= \"a\"\n  <nosuch>", "expected the name of a rule"},
		{"root ::= \"a\" |\n  <nosuch>", "2:3: <nosuch> is not a token of this model"},
		{"root ::= <[267]>", "1:10: token 267 is not one of 267"},
		{"root ::= \"a\" </s>", "1:14: token </s> ends the response"},
	} {
		g, err := m.NewGrammar(c.gbnf, "")
		if err == nil {
			g.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.gbnf, err, c.want)
		}
	}
}

// A token that may not come is an error and changes nothing; the end may be accepted
// where the grammar is complete.
func TestGrammarAccept(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	g := grammar(t, m, `root ::= "ab"+`)
	for range 3 {
		before := mask(t, m, g)
		for i := range int32(testVocab) {
			if slices.Contains(before, i) {
				continue
			}
			if err := g.Accept(i); err == nil || !strings.Contains(err.Error(), "may not come next") {
				t.Fatalf("token %d: %v", i, err)
			}
		}
		for _, bad := range []int32{-1, testVocab} {
			if err := g.Accept(bad); err == nil {
				t.Errorf("token %d accepted", bad)
			}
			if err := g.Mask([]int32{bad}, make([]bool, 1)); err == nil {
				t.Errorf("token %d masked", bad)
			}
		}
		if after := mask(t, m, g); !slices.Equal(before, after) {
			t.Fatalf("%v came out of %v", after, before)
		}
		for _, b := range "ab" {
			if err := g.Accept(firstByte + b); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Accept(eosToken); err != nil {
			t.Error(err)
		}
	}
	if err := g.Mask([]int32{1, 2}, make([]bool, 1)); err == nil {
		t.Error("one value for two tokens")
	}
	if err := g.Mask(nil, nil); err != nil {
		t.Error(err)
	}
}

// Another rule may be the root, whether or not there is one called root.
func TestGrammarRoot(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	for _, text := range []string{"a ::= \"a\" b\nb ::= \"b\"#", "root ::= \"c\"\na ::= \"a\" b\nb ::= \"b\""} {
		g, err := m.NewGrammar(text, "a")
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if !mayCome(t, g, firstByte+'a') || mayCome(t, g, firstByte+'c') {
			t.Errorf("%q does not begin with rule a", text)
		}
	}
}

// A clone goes its own way, from within a character as well.
func TestGrammarClone(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	g := grammar(t, m, "root ::= list \"!\"\nlist ::= \"[\" (list | \"水\" | \"氷\") \"]\"")
	for _, b := range []byte("[[\xe6") {
		if err := g.Accept(firstByte + int32(b)); err != nil {
			t.Fatal(err)
		}
	}
	h := clone(t, g)
	for _, c := range []struct {
		g    *llama.Grammar
		rest string
	}{{h, "\xb0\xb4]]!"}, {g, "\xb0\xb7]]!"}} {
		for _, b := range []byte(c.rest) {
			if err := c.g.Accept(firstByte + int32(b)); err != nil {
				t.Fatalf("%q: %v", c.rest, err)
			}
		}
		if got := mask(t, m, c.g); !slices.Equal(got, []int32{eosToken}) {
			t.Errorf("after %q: %v", c.rest, got)
		}
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if !mayCome(t, g, eosToken) {
		t.Error("closing the clone closed the grammar")
	}
}

// llama.cpp survives the largest grammars that are taken.
func TestGrammarLargest(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	for name, text := range map[string]string{
		"a chain":             "root ::= r0\n" + numbered(2800, func(i int) string { return fmt.Sprintf("r%d ::= r%d\n", i, i+1) }) + `r2800 ::= "x"`,
		"a chain, last first": `r0 ::= "x"` + "\n" + numbered(2800, func(i int) string { return fmt.Sprintf("r%d ::= r%d\n", i+1, i) }) + "root ::= r2800",
		"alternatives":        `root ::= "x"` + strings.Repeat(` | "x"`, 10000),
		"parentheses":         "root ::= " + strings.Repeat("(", 128) + `"x"` + strings.Repeat(")", 128),
		"optional parts":      "root ::= " + strings.Repeat(`"x"? `, 40),
		"repetitions":         `root ::= "x" ("a" ` + strings.Repeat(`"a"{1999} `, 250) + `)`,
	} {
		g := grammar(t, m, text)
		h := clone(t, g)
		if err := h.Accept(firstByte + 'x'); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := g.Accept(firstByte + 'y'); err == nil {
			t.Errorf("%s: y", name)
		}
	}
}

// A grammar whose depth grows with the text bounds the text.
func TestGrammarTooDeep(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	g := grammar(t, m, `root ::= "a"* | "x" root "y"?`)
	for i := range 1 << 14 {
		if err := g.Accept(firstByte + 'a'); err != nil {
			if i < 1000 || !strings.Contains(err.Error(), "too deep") {
				t.Errorf("after %d bytes: %v", i, err)
			}
			return
		}
	}
	t.Error("no bound")
}

func TestGrammarClosed(t *testing.T) {
	m, err := llama.Load(randomModel(t, "llama", 1, nil), llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	g := grammar(t, m, `root ::= "a"`)
	h := clone(t, g)
	for _, x := range []*llama.Grammar{g, h} {
		if err := m.Close(); err == nil {
			t.Fatal("a model with an open grammar was closed")
		}
		for range 2 {
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	_, cloneErr := g.Clone()
	for _, err := range []error{g.Mask([]int32{5}, make([]bool, 1)), g.Accept(5), cloneErr} {
		if !errors.Is(err, llama.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.NewGrammar(`root ::= "a"`, ""); !errors.Is(err, llama.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// Two goroutines with one grammar are told so, and neither crashes.
func TestGrammarBusy(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	g := grammar(t, m, `root ::= [a-z]*`)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for i := range 500 {
				for _, err := range []error{g.Mask([]int32{firstByte + 'a'}, make([]bool, 1)), g.Accept(firstByte + 'a'), g.Mask([]int32{int32(i % testVocab)}, make([]bool, 1))} {
					if err != nil && !errors.Is(err, llama.ErrBusy) {
						t.Error(err)
					}
				}
			}
		})
	}
	both.Wait()
	if !mayCome(t, g, eosToken) {
		t.Error("the grammar is spoilt")
	}
}
