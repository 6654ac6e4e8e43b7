package chat_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/chat"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

func Example() {
	model, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	encoder, err := prompt.NewEncoder(model, prompt.Options{Template: "{% for m in messages %}{{ m.content }}\nTL;DR:{% endfor %}"})
	if err != nil {
		log.Fatal(err)
	}
	c, err := chat.New(model, chat.Options{
		Encoder: encoder, Size: 256, Context: batch.Context{Threads: 1},
		Strategy: decode.Strategy{Method: decode.MethodSample}, Request: decode.Request{MaxTokens: 10},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	_, err = c.Answer(context.Background(), "i broke a green kettle at home.", func(text []byte) { fmt.Printf("%s", text) })
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println()
	fmt.Println(len(c.Messages()), "messages")
	// Output:
	// so sister smashed green kettle, and broke green kettle
	// 2 messages
}
