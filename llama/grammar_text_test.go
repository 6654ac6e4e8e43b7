package llama_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/llama"
)

// walk goes on by allowed tokens, chosen by choose, until one ends the text or there
// have been most. done says whether the text was ended.
func walk(t testing.TB, m *llama.Model, g *llama.Grammar, most int, choose func(allowed []int32) int32) (text []byte, done bool) {
	t.Helper()
	for range most {
		allowed := mask(t, m, g)
		if len(allowed) == 0 {
			t.Fatalf("nothing may follow %q", text)
		}
		token := choose(allowed)
		if err := g.Accept(token); err != nil {
			t.Fatalf("after %q: %v", text, err)
		}
		if m.IsEOG(token) {
			return text, true
		}
		piece, err := m.Piece(token, false)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, piece...)
	}
	return text, false
}

// matches walks over a text in tokens chosen at random and says whether the grammar
// takes it as a whole.
func matches(t testing.TB, m *llama.Model, g *llama.Grammar, rng *rand.Rand, text []byte) bool {
	t.Helper()
	g = clone(t, g)
	defer g.Close()
	for len(text) > 0 {
		var fit []int32
		for i := int32(firstByte); i < testVocab; i++ {
			if p, _ := m.Piece(i, false); len(p) > 0 && bytes.HasPrefix(text, p) {
				fit = append(fit, i)
			}
		}
		token := fit[rng.IntN(len(fit))]
		if !mayCome(t, g, token) {
			if err := g.Accept(token); err == nil {
				t.Fatalf("token %d before %q: accepted but masked", token, text)
			}
			return false
		}
		if err := g.Accept(token); err != nil {
			t.Fatal(err)
		}
		p, _ := m.Piece(token, false)
		text = text[len(p):]
	}
	return mayCome(t, g, eosToken)
}

// A grammar takes the texts that an equivalent regular expression takes.
func TestGrammarRegular(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	rng := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct{ gbnf, re, alphabet string }{
		{`root ::= "yes" | "no"`, `yes|no`, "yesno"},
		{`root ::= ""`, ``, "a"},
		{`root ::= "ab"*`, `(ab)*`, "abc"},
		{`root ::= "a"{2,4} "b"{3} "c"{1,}`, `a{2,4}b{3}c+`, "abc"},
		{`root ::= ("a" | "b" "c"?){0,3} "a"?`, `(a|bc?){0,3}a?`, "abc"},
		{`root ::= ("a" "b"? "c"?)+`, `(ab?c?)+`, "abc"},
		{`root ::= [a-c]+ [^a-c] .`, `(?s)[a-c]+[^a-c].`, "abc d水"},
		{`root ::= [^\n"\\]* "\n"`, "[^\\n\"\\\\]*\\n", "a\"\\\n水"},
		{`root ::= [é水🙂-🙄]*`, `[é水🙂-🙄]*`, "éè水氷🙂🙃🤡"},
		{`root ::= "\x61\u6c34\U0001F642" [\x00-\x7F]?`, `a水🙂[\x00-\x7F]?`, "a水🙂"},
		{"root ::= a b\na ::= \"a\" a | \"\"\nb ::= \"b\" (b |\n # more\n b)?", `a*b+`, "ab"},
		{`root ::= [-a]? [a-]? [\]\[^]`, `[-a]?[-a]?[\]\[^]`, "-a]^["},
		{"root ::= \" \" (word (\" \" word)*)?\nword ::= [abc]+", ` ([abc]+( [abc]+)*)?`, "abc  "},
	} {
		g := grammar(t, m, c.gbnf)
		re := regexp.MustCompile(`^(?:` + c.re + `)$`)
		alphabet := []rune(c.alphabet)
		var yes, no int
		for i := range 400 {
			var text []byte
			switch i % 4 {
			case 0: // a text of the grammar
				h := clone(t, g)
				var done bool
				text, done = walk(t, m, h, 30, func(allowed []int32) int32 {
					if slices.Contains(allowed, eosToken) && rng.IntN(4) == 0 {
						return eosToken
					}
					return allowed[rng.IntN(len(allowed))]
				})
				h.Close()
				if done && !(utf8.Valid(text) && re.Match(text)) {
					t.Errorf("%s: came to %q", c.gbnf, text)
				}
			case 1: // a bit of one
				text = []byte(string(text))
				for range rng.IntN(4) {
					text = append(text, string(alphabet[rng.IntN(len(alphabet))])...)
				}
			default:
				for range rng.IntN(9) {
					text = append(text, string(alphabet[rng.IntN(len(alphabet))])...)
				}
				if rng.IntN(8) == 0 && len(text) > 0 {
					text = text[:rng.IntN(len(text))]
				}
			}
			want := utf8.Valid(text) && re.Match(text)
			if got := matches(t, m, g, rng, text); got != want {
				t.Errorf("%s: takes %q: %v", c.gbnf, text, got)
			}
			if want {
				yes++
			} else {
				no++
			}
		}
		if yes == 0 || no == 0 {
			t.Errorf("%s: %d texts match, %d do not", c.gbnf, yes, no)
		}
	}
}

func readGrammar(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/grammar/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Whatever is drawn from the JSON grammar, encoding/json reads, and the JSON that
// encoding/json writes the grammar takes.
func TestGrammarJSON(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	g := grammar(t, m, readGrammar(t, "json.gbnf"))
	rng := rand.New(rand.NewPCG(2, 1))
	ended := 0
	for range 150 {
		h := clone(t, g)
		n := 0
		text, done := walk(t, m, h, 300, func(allowed []int32) int32 {
			n++
			closing := slices.DeleteFunc(slices.Clone(allowed), func(i int32) bool {
				p, _ := m.Piece(i, false)
				return i != eosToken && !bytes.ContainsAny(p, `"}]`)
			})
			if len(closing) > 0 && n > 5+rng.IntN(40) {
				return closing[rng.IntN(len(closing))]
			}
			return allowed[rng.IntN(len(allowed))]
		})
		h.Close()
		if !done {
			continue
		}
		ended++
		if !json.Valid(text) || !utf8.Valid(text) {
			t.Errorf("not JSON: %q", text)
		}
	}
	if ended < 75 {
		t.Errorf("only %d texts came to an end", ended)
	}
	for _, v := range []any{nil, true, 0, -1.5e-7, "水\n\u0001\"\\🙂", []any{}, []any{1, []any{"a"}}, map[string]any{}, map[string]any{"a b": []any{1.25, nil}, "": map[string]any{"c": "🙂"}}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if !matches(t, m, g, rng, text) {
			t.Errorf("does not take %s", text)
		}
		if len(text) > 1 && matches(t, m, g, rng, text[:len(text)-1]) && !json.Valid(text[:len(text)-1]) {
			t.Errorf("takes %s", text[:len(text)-1])
		}
	}
}

// A character may come in several tokens; what cannot become UTF-8 may not come at all,
// and the text may not end within a character.
func TestGrammarUTF8(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	for _, c := range []struct{ gbnf, text, refused string }{
		{`root ::= .*`, "\xe6\xb0\xb4", "\x80\xb4\xc0\xc1\xf5\xff"},
		{`root ::= [^a]*`, "\xf0\x9f\x99\x82", "a\x80\xc0\xff"},
		{`root ::= "水"*`, "\xe6\xb0\xb4", "\xe5\xe7\xc3\xf0"},
		{`root ::= [水-汵]*`, "\xe6\xb1\xb5", "\xe5\xe7"},
	} {
		g := grammar(t, m, c.gbnf)
		for _, b := range []byte(c.refused) {
			if mayCome(t, g, firstByte+int32(b)) {
				t.Errorf("%s: begins with %x", c.gbnf, b)
			}
		}
		for i, b := range []byte(c.text) {
			if end := mayCome(t, g, eosToken); end != (i == 0) {
				t.Errorf("%s: may end after %d bytes: %v", c.gbnf, i, end)
			}
			if i > 0 && mayCome(t, g, firstByte+'a') {
				t.Errorf("%s: a letter after %d bytes of a character", c.gbnf, i)
			}
			if err := g.Accept(firstByte + int32(b)); err != nil {
				t.Fatalf("%s: byte %d: %v", c.gbnf, i, err)
			}
		}
		if !mayCome(t, g, eosToken) {
			t.Errorf("%s: may not end after %q", c.gbnf, c.text)
		}
	}
}

// Greedy decoding on the lab model over the candidates of each row gives a text of the
// grammar.
func TestGrammarDecoding(t *testing.T) {
	m := load(t, "../testdata/lab/summarize-s.gguf")
	for _, c := range []struct{ gbnf, re string }{
		{"root ::= \" \"? [A-Z] [a-z]+ (\" \" [a-z]+){3,6} \".\"", `^ ?[A-Z][a-z]+( [a-z]+){3,6}\.$`},
		{"root ::= \" \"? (\"yes\" | \"no\") (\", \" [a-z]{2,8}){2}", `^ ?(yes|no)(, [a-z]{2,8}){2}$`},
	} {
		ctx := newContext(t, m, llama.ContextParams{Ctx: 256, Top: m.Info().Vocab})
		g := grammar(t, m, c.gbnf)
		prompt, err := m.Tokenize("The meeting about the budget was moved to Friday.", true, false)
		if err != nil {
			t.Fatal(err)
		}
		var text []byte
		pos, next := int32(0), prompt
		for range 64 {
			feed(t, ctx, 0, pos, next...)
			pos += int32(len(next))
			row, err := ctx.Row(0)
			if err != nil {
				t.Fatal(err)
			}
			allowed := make([]bool, len(row.Top))
			if err := g.Mask(row.Top, allowed); err != nil {
				t.Fatal(err)
			}
			best := slices.Index(allowed, true)
			if best < 0 {
				t.Fatalf("no candidate may follow %q", text)
			}
			token := row.Top[best]
			if err := g.Accept(token); err != nil {
				t.Fatal(err)
			}
			if m.IsEOG(token) {
				break
			}
			piece, err := m.Piece(token, false)
			if err != nil {
				t.Fatal(err)
			}
			text = append(text, piece...)
			next = []int32{token}
		}
		if !regexp.MustCompile(c.re).Match(text) {
			t.Errorf("%s: came to %q", c.gbnf, text)
		}
	}
}
