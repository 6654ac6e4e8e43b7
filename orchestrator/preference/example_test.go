package preference_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// A dialogue with two endings is a conversation and two answers to it.
func ExampleRead() {
	file := `{"chosen": "\n\nHuman: May I?\n\nAssistant: Yes.", "rejected": "\n\nHuman: May I?\n\nAssistant: Ask mum."}`
	pairs, _, err := preference.Read("-", preference.Options{ReadOptions: prompt.ReadOptions{Stdin: strings.NewReader(file)}})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range pairs {
		fmt.Printf("%s\n%q rather than %q\n", p.Prompt.Show(), p.Chosen, p.Rejected)
	}
	// Output:
	// user: May I?
	// "Yes." rather than "Ask mum."
}
