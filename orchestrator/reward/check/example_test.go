package check_test

import (
	"encoding/json"
	"fmt"
	"log"

	"github.com/ivo-decoding/ivo/orchestrator/reward/check"
)

func ExampleParse() {
	instructions, err := check.Parse(
		[]string{"length_constraints:number_words", "punctuation:no_comma"},
		[]json.RawMessage{json.RawMessage(`{"relation": "at least", "num_words": 5}`), json.RawMessage(`{}`)},
	)
	if err != nil {
		log.Fatal(err)
	}
	for _, response := range []string{"The sea was calm and grey.", "Calm, grey sea."} {
		for _, i := range instructions {
			fmt.Println(i.ID, i.Met(response))
		}
	}
	// Output:
	// length_constraints:number_words true
	// punctuation:no_comma true
	// length_constraints:number_words false
	// punctuation:no_comma false
}
