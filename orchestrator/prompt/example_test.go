package prompt_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Prompts have the form that they come in. What is no prompt stays with the record, for rewards.
func ExampleRead() {
	file := `{"id": "sea", "prompt": "The sea is", "answer": "blue"}
{"messages": [{"role": "user", "content": "How was the hotel?"}]}
{"instruction": "Translate into French.", "input": "the sea"}
`
	records, err := prompt.Read("-", prompt.ReadOptions{Stdin: strings.NewReader(file)})
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range records {
		fmt.Printf("%s: %q", r.ID, r.Show())
		if answer, ok := r.Fields["answer"]; ok {
			fmt.Printf(", its answer %s", answer)
		}
		fmt.Println()
	}
	// Output:
	// sea: "The sea is", its answer "blue"
	// 2: "user: How was the hotel?"
	// 3: "Translate into French.\n\nthe sea"
}

// A conversation becomes text by a template, and text tokens by the model.
func ExampleEncoder_Encode() {
	model, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{VocabOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()
	e, err := prompt.NewEncoder(model, prompt.Options{Chat: true, Template: "{% for m in messages %}{{ m.content }}\nTL;DR:{% endfor %}"})
	if err != nil {
		log.Fatal(err)
	}
	record := prompt.Record{ID: "1", Text: "i broke a green kettle at home."}
	text, err := e.Text(record)
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := e.Encode(record)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q is %d tokens\n", text, len(tokens))
	// Output: "i broke a green kettle at home.\nTL;DR:" is 15 tokens
}
