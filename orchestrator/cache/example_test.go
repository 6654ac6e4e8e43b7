package cache_test

import (
	"fmt"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/cache"
)

// kept is an owner that never goes.
type kept struct{ name string }

func (*kept) Gone() bool { return false }

// Two texts of a prompt, and then one of them with a token more: the prompt is read once, the text
// that grows is not read again.
func Example() {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	c, err := m.NewContext(llama.ContextParams{Ctx: 512, Sequences: 4, Threads: 1, Top: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	read := cache.New(c)

	next := map[string]string{}
	want := func(text string) *cache.Want {
		tokens, err := m.Tokenize(text, true, false)
		if err != nil {
			fmt.Println(err)
		}
		last := len(tokens) - 1
		return &cache.Want{Owner: &kept{text}, Tokens: tokens, From: last, Out: last, Rows: func(rows []llama.Row) error {
			piece, err := m.Piece(rows[0].Top[0], false)
			next[text] = string(piece)
			return err
		}}
	}
	const prompt = "i bought a red bell at work.\nTL;DR:"
	for _, texts := range [][]string{{prompt + " bought", prompt + " lost"}, {prompt + " bought red"}} {
		var wants []*cache.Want
		for _, text := range texts {
			wants = append(wants, want(text))
		}
		if err := read.Bring(wants); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Printf("bought%s\nbought red%s\n", next[prompt+" bought"], next[prompt+" bought red"])
	// Output:
	// bought red
	// bought red bell
}
