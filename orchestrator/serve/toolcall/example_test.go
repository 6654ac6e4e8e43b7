package toolcall_test

import (
	"fmt"

	"github.com/ivo-decoding/ivo/orchestrator/serve/toolcall"
)

// An answer comes in parts; what is a call is told as one.
func Example() {
	form := toolcall.Named("hermes")
	reader := form.Reader(nil)
	for i, part := range []string{"Let me look.\n<tool_", `call>{"name": "weather", "arguments": {"city": "Oslo"}}`, "</tool_call>"} {
		text, calls := reader.Push(part, i == 2)
		fmt.Printf("%q\n", text)
		for _, c := range calls {
			fmt.Println(c.Name, string(c.Arguments))
		}
	}
	// Output:
	// "Let me look."
	// ""
	// ""
	// weather {"city": "Oslo"}
}
