package think_test

import (
	"fmt"

	"github.com/ivo-decoding/ivo/orchestrator/think"
)

// A text that was written elsewhere, by a model whose chat template is known.
func ExampleFormat_Split() {
	format, _ := think.Find("{% if m.reasoning_content %}<think>{{ m.reasoning_content }}</think>{% endif %}", nil)
	thinking, answer := format.Split("<think>\nTwo and two.\n</think>\n\nFour.")
	fmt.Printf("thought: %s\nanswered: %s\n", thinking, answer)
	// Output:
	// thought: Two and two.
	// answered: Four.
}
