package jinja_test

import (
	"fmt"

	"github.com/ivo-decoding/ivo/llama/jinja"
)

func ExampleRender() {
	template := `{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}`
	text, err := jinja.Render(template, jinja.Params{
		Messages:            []jinja.Message{{Role: "user", Content: "What is a beam?\n"}},
		AddGenerationPrompt: true,
	})
	fmt.Println(text, err)
	// Output: <user>What is a beam?<assistant> <nil>
}
