package llama_test

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ivo-decoding/ivo/llama"
)

const (
	labModel = "../testdata/lab/summarize-s.gguf"
	post     = "on friday my neighbor bought a rusty bike. on monday i gave a crooked mirror. life goes on. the weather was nice. it was a long day. " +
		"at the market my teacher almost found a golden map. i smashed a green coat last week. i painted a blue candle years ago. " +
		"last week, at work, i fixed a red kite. i cleaned a fancy phone at work.\nTL;DR:"
)

// Greedy decoding: feed the prompt, then the likeliest token again and again.
func Example() {
	model, err := llama.Load(labModel, llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	ctx, err := model.NewContext(llama.ContextParams{Ctx: 512, Threads: 1, Top: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer ctx.Close()

	tokens, err := model.Tokenize(post, true, false)
	if err != nil {
		log.Fatal(err)
	}
	var response []int32
	for pos := int32(0); len(response) < 40; {
		for i, token := range tokens {
			if _, err := ctx.Add(token, pos, 0, i == len(tokens)-1, 0); err != nil {
				log.Fatal(err)
			}
			pos++
		}
		if err := ctx.Decode(); err != nil {
			log.Fatal(err)
		}
		row, err := ctx.Row(0)
		if err != nil {
			log.Fatal(err)
		}
		best := row.Top[0]
		if model.IsEOG(best) {
			break
		}
		response = append(response, best)
		tokens = []int32{best}
	}
	text, err := model.Detokenize(response, false)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
	// Output: so basically: got rusty bike, also donated crooked mirror, also broke green coat
}

func ExampleLoad() {
	model, err := llama.Load(labModel, llama.ModelParams{
		GPULayers: -1, // all of them, where there is a GPU
		Progress: func(done float32) bool {
			return true // false cancels
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	info := model.Info()
	fmt.Println(info.Architecture, info.Layers, "layers of width", info.Width)

	_, err = llama.Load("no-such-model.gguf", llama.ModelParams{})
	fmt.Println(err)
	// Output:
	// llama 5 layers of width 128
	// load no-such-model.gguf: no such file or directory (check the path of the model)
}

func ExampleModel_Tokenize() {
	model, err := llama.Load(labModel, llama.ModelParams{VocabOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	tokens, err := model.Tokenize("a rusty bike", false, false)
	if err != nil {
		log.Fatal(err)
	}
	for _, token := range tokens {
		piece, err := model.Piece(token, false)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%q ", piece)
	}
	// Output: " a" " rusty" " bike"
}

// Two continuations of one prompt share its cells.
func ExampleContext_Fork() {
	model, err := llama.Load(labModel, llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	ctx, err := model.NewContext(llama.ContextParams{Ctx: 512, Threads: 1, Sequences: 2, Top: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer ctx.Close()

	prompt, err := model.Tokenize(post, true, false)
	if err != nil {
		log.Fatal(err)
	}
	for i, token := range prompt {
		if _, err := ctx.Add(token, int32(i), 0, i == len(prompt)-1, 0); err != nil {
			log.Fatal(err)
		}
	}
	if err := ctx.Decode(); err != nil {
		log.Fatal(err)
	}
	row, err := ctx.Row(0)
	if err != nil {
		log.Fatal(err)
	}
	first, second := row.Top[0], row.Top[1] // views: read them before the next Decode

	if err := ctx.Fork(0, 1); err != nil {
		log.Fatal(err)
	}
	for seq, token := range []int32{first, second} {
		if _, err := ctx.Add(token, int32(len(prompt)), int32(seq), true, 0); err != nil {
			log.Fatal(err)
		}
	}
	if err := ctx.Decode(); err != nil { // one step for both
		log.Fatal(err)
	}
	for seq := range 2 {
		n, err := ctx.Len(int32(seq))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("sequence", seq, "has", n-len(prompt), "token more than the prompt")
	}
	// Output:
	// sequence 0 has 1 token more than the prompt
	// sequence 1 has 1 token more than the prompt
}

// The states of an inner layer and of the last one, with the logits.
func ExampleContext_Row() {
	model, err := llama.Load(labModel, llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	last := model.Info().Layers // the state after the final norm
	ctx, err := model.NewContext(llama.ContextParams{Ctx: 512, Threads: 1, Layers: []int{2, last}})
	if err != nil {
		log.Fatal(err)
	}
	defer ctx.Close()
	if _, err := ctx.Add(model.BOS(), 0, 0, true, 0); err != nil {
		log.Fatal(err)
	}
	if err := ctx.Decode(); err != nil {
		log.Fatal(err)
	}
	row, err := ctx.Row(0)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(row.Logits), "logits,", len(row.States), "numbers of hidden states")
	// Output: 1024 logits, 256 numbers of hidden states
}

// A prompt that is used again is decoded once.
func ExampleContext_SaveSequence() {
	model, err := llama.Load(labModel, llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	prompt, err := model.Tokenize(post, true, false)
	if err != nil {
		log.Fatal(err)
	}
	ctx, err := model.NewContext(llama.ContextParams{Ctx: 512, Threads: 1})
	if err != nil {
		log.Fatal(err)
	}
	for i, token := range prompt {
		if _, err := ctx.Add(token, int32(i), 0, false, 0); err != nil {
			log.Fatal(err)
		}
	}
	if err := ctx.Decode(); err != nil {
		log.Fatal(err)
	}
	saved, err := ctx.SaveSequence(0)
	if err != nil {
		log.Fatal(err)
	}
	ctx.Close()

	ctx, err = model.NewContext(llama.ContextParams{Ctx: 512, Threads: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer ctx.Close()
	if err := ctx.RestoreSequence(0, saved); err != nil {
		log.Fatal(err)
	}
	n, err := ctx.Len(0)
	fmt.Println(n == len(prompt), err)
	// Output: true <nil>
}

func ExampleModel_RenderChat() {
	model, err := llama.Load(labModel, llama.ModelParams{VocabOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	text, err := model.RenderChat([]llama.Message{{Role: "user", Content: "Hello!"}}, llama.Chat{Template: "chatml", Open: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(text)
	// Output:
	// <|im_start|>user
	// Hello!<|im_end|>
	// <|im_start|>assistant
}

func ExampleQuantize() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	small := filepath.Join(dir, "small.gguf")
	if err := llama.Quantize(labModel, small, llama.QuantizeParams{Type: "Q8_0", Threads: 1}); err != nil {
		log.Fatal(err)
	}
	model, err := llama.Load(small, llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	fmt.Println(model.Info().Desc)
	// Output: llama ?B Q8_0
}
