package llama_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/llama"
)

// Rules allow what llama.cpp's own grammar does, token by token, whatever the grammar, but for the end inside a
// character, for what was pruned, for beginnings of characters that [^水] takes, where llama.cpp refuses those of 水 itself, and for control
// tokens, which llama.cpp takes for their spelling too, once they are asked for anywhere.
func TestRulesAreLlamas(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	compared := 0
	for i := range 1000 {
		text, rng := drawnGrammar(i)
		rules, err := m.Rules(text)
		if err != nil {
			continue
		}
		if llama.Prunes(text) {
			continue
		}
		g, err := m.NewGrammar(text, "")
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		compared++
		state, said := rules.Start(), []byte(nil)
		for range 6 {
			set, err := rules.Allowed(state)
			if err != nil {
				t.Fatalf("%q after %q: %v", text, said, err)
			}
			got, want := slices.Collect(set.All()), mask(t, m, g)
			if !utf8.Valid(said) {
				want = slices.DeleteFunc(want, m.IsEOG)
			}
			want = slices.DeleteFunc(want, func(token int32) bool { return token <= bosToken && !set.Has(token) })
			if strings.Contains(text, "[^") {
				got = slices.DeleteFunc(got, func(token int32) bool {
					return token >= firstByte+0x80 && token < firstByte+256 && !slices.Contains(want, token)
				})
			} else if len(got) != set.Len() {
				t.Fatalf("%q after %q: %d tokens, not %d", text, said, len(got), set.Len())
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%q after %q: tokens %v may come, llama.cpp has %v", text, said, got, want)
			}
			for token := range int32(m.Info().Vocab) {
				if _, err := rules.Next(state, token); (err == nil) != set.Has(token) {
					t.Fatalf("%q after %q: token %d: %v", text, said, token, err)
				}
			}
			if len(got) == 0 {
				break
			}
			token := got[rng.IntN(len(got))]
			if m.IsEOG(token) {
				break
			}
			if state, err = rules.Next(state, token); err != nil {
				t.Fatal(err)
			}
			if err := g.Accept(token); err != nil {
				t.Fatal(err)
			}
			piece, _ := m.Piece(token, false)
			said = append(said, piece...)
		}
		g.Close()
	}
	if compared < 150 {
		t.Errorf("%d grammars were compared", compared)
	}
}

// A text in several tokens comes where the whole is: characters over tokens' borders included.
func TestRulesFollowTexts(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	rules, err := m.Rules(`root ::= ("水" | [α-ω] | "🙂" | "\\")+ "."`)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"水🙂.": true, "αω\\.": true, "水": false, "Ω.": false, "🙃.": false, ".": false, "ω.": true, "水.水": false} {
		state, complete := rules.Start(), false
		for _, b := range []byte(text) {
			if state, err = rules.Next(state, firstByte+int32(b)); err != nil {
				break
			}
			complete = state.Complete()
		}
		if got := err == nil && complete; got != want {
			t.Errorf("%q follows the grammar: %v (%v)", text, got, err)
		}
	}
}

// Grammars that no text satisfies are refused, and ways that never end are not begun.
func TestRulesThatEnd(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	for _, text := range []string{`root ::= "a" root`, "root ::= \"a\" x\nx ::= \"b\" y | \"c\" x\ny ::= \"d\" x", `root ::= [^\x00-\U0010ffff]`, `root ::= [\uD800]`} {
		for _, err := range []error{llama.CheckGrammar(text, ""), func() error { _, err := m.Rules(text); return err }()} {
			if err == nil || !strings.Contains(err.Error(), "1:1: no text can satisfy it") {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	rules, err := m.Rules("root ::= \"a\" | \"b\" x | \"c\"\nx ::= \"d\" x")
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Allowed(rules.Start())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for token := range set.All() {
		piece, _ := m.Piece(token, false)
		got = append(got, string(piece))
	}
	slices.Sort(got)
	if !slices.Equal(slices.Compact(got), []string{"a", "c"}) {
		t.Errorf("%q may come", got)
	}
}

// A grammar that reads a text in ever more ways is an error in time, not a process that grows.
func TestRulesExplode(t *testing.T) {
	m := load(t, randomModel(t, "llama", 1, nil))
	rules, err := m.Rules("root ::= \"a\" root x | \"a\" root y | \"a\"\nx ::= \"b\" | \"c\"\ny ::= \"b\" | \"d\"")
	if err != nil {
		t.Fatal(err)
	}
	state := rules.Start()
	for i := range 40 {
		if state, err = rules.Next(state, firstByte+'a'); err != nil {
			break
		}
		if _, err = rules.Allowed(state); err != nil {
			break
		}
		if i == 39 {
			t.Fatal("2^39 ways")
		}
	}
	if !strings.Contains(err.Error(), "can be read in more than") {
		t.Error(err)
	}
}

// The mask of SmolLM2's 49,152 tokens inside a JSON string: found for the first time, asked for again, and by
// llama.cpp's sampler, with what a fork costs.
func BenchmarkRules(b *testing.B) {
	m, err := llama.Load(testmodel.SmolLM2(b), llama.ModelParams{VocabOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	text := readGrammar(b, "json.gbnf")
	begin, err := m.Tokenize(`{"name`, false, false)
	if err != nil {
		b.Fatal(err)
	}
	rules := func(text string) (*llama.Rules, llama.GrammarState) {
		r, err := m.Rules(text)
		if err != nil {
			b.Fatal(err)
		}
		state := r.Start()
		for _, token := range begin {
			if state, err = r.Next(state, token); err != nil {
				b.Fatal(err)
			}
		}
		return r, state
	}
	b.Run("first", func(b *testing.B) {
		for i := range b.N {
			b.StopTimer()
			r, state := rules(fmt.Sprintf("%s# %d\n", text, i))
			b.StartTimer()
			if _, err := r.Allowed(state); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		r, state := rules(text)
		for b.Loop() {
			fork := state
			if _, err := r.Allowed(fork); err != nil {
				b.Fatal(err)
			}
		}
	})
	g, err := m.NewGrammar(text, "")
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close()
	for _, token := range begin {
		if err := g.Accept(token); err != nil {
			b.Fatal(err)
		}
	}
	all := make([]int32, m.Info().Vocab)
	for i := range all {
		all[i] = int32(i)
	}
	may := make([]bool, len(all))
	b.Run("llama.cpp", func(b *testing.B) {
		for b.Loop() {
			fork, err := g.Clone()
			if err != nil {
				b.Fatal(err)
			}
			if err := fork.Mask(all, may); err != nil {
				b.Fatal(err)
			}
			fork.Close()
		}
	})
}
