// Package jinja renders the chat template that a GGUF carries, for the templates that
// llama.cpp's built-in matcher does not know. It is an interpreter of the part of Jinja
// that chat templates use, in the environment that transformers gives them: trim_blocks
// and lstrip_blocks on, no autoescape, undefined names that print as nothing,
// immutable lists and mappings, loop controls, the generation tag, raise_exception,
// strftime_now and a tojson that writes what Python's json.dumps writes.
//
// A template comes from a file that somebody else made, so it runs within bounds, see
// [Render]. The package knows nothing of models or tokens.
//
// Not there, and refused with an error that names it: template inheritance, include and
// import, the tags call, with, do and autoescape, recursive loops, printf-style
// formatting, integers beyond 64 bits.
package jinja

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Message is one turn of a chat; templates see it as a mapping of role, content and its other
// fields. A field wins over Content where it has that name: content that is no text.
type Message struct {
	Role    string
	Content string
	Fields  map[string]json.RawMessage
}

// Params are what a template is rendered with. Templates see Messages as messages,
// AddGenerationPrompt as add_generation_prompt, BOS and EOS as bos_token and eos_token,
// and each entry of Extra under its own name. What is in none of these is undefined, tools
// and documents too.
type Params struct {
	Messages            []Message
	AddGenerationPrompt bool      // open the assistant's turn at the end
	BOS, EOS            string    // texts of the special tokens
	Now                 time.Time // what strftime_now formats; the zero value is the current time
	// Extra holds further variables, enable_thinking for example: nil, booleans,
	// integers, floats, strings, json.Number, json.RawMessage, and []any, []string and
	// map[string]any of these. The keys of a map come in alphabetical order, those of a
	// json.RawMessage in their own. The names above win over Extra's.
	Extra map[string]any
}

// The bounds within which a template runs. The largest real templates are about 20 kB long,
// nest a dozen levels deep and take some hundred steps a message.
const (
	maxTemplate = 1 << 20
	maxNesting  = 200     // of tags and expressions in the template
	maxDepth    = 3000    // of evaluations, macro calls included
	maxRange    = 100_000 // elements of a range(), as in Jinja's sandbox
	maxSteps    = 5e6     // about half a second
	maxBytes    = 64 << 20
	stepsShare  = 8  // steps for each byte of the parameters, beyond maxSteps
	bytesShare  = 64 // bytes for each byte of the parameters, beyond maxBytes
)

// Error says what is wrong with a template, or with the chat in the template's eyes.
type Error struct {
	Line   int    // in the template, 0 if unknown
	Msg    string // what is wrong; of a template that raises, its own words
	Raised bool   // the template called raise_exception: the chat does not suit it
	Hint   string // what to do, with settings in braces (see package fault)
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("chat template")
	if e.Line > 0 {
		fmt.Fprintf(&b, ", line %d", e.Line)
	}
	b.WriteString(": ")
	if e.Raised {
		b.WriteString("it refuses this chat: ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		b.WriteString(" (" + fault.Spell(e.Hint) + ")")
	}
	return b.String()
}

const (
	otherTemplate = "give another one as {template}, for example chatml"
	otherChat     = "change the roles or the order of the messages, or give another template as {template}"
)

func errorAt(line int, format string, args ...any) *Error {
	return &Error{Line: line, Msg: fmt.Sprintf(format, args...), Hint: otherTemplate}
}

// Render applies a template to a chat. Every failure is an [*Error]: a template that does
// not parse, one that raises, one that exceeds its bounds. Templates of up to 1 MiB are
// taken. One run may nest 3000 evaluations and, so that it ends within a second or so, take
// 5 million steps and make 64 MiB of strings and lists in all, and more in proportion to
// the size of p.
func Render(template string, p Params) (string, error) {
	return render(template, p, maxSteps)
}

func render(template string, p Params, steps int) (text string, err error) {
	// The interpreter reports failures by panicking with an *Error. Anything else would
	// be a mistake in this package, which must not take down the program either.
	defer func() {
		switch r := recover().(type) {
		case nil:
		case *Error:
			text, err = "", r
		default:
			text, err = "", errorAt(0, "internal error: %v", r)
		}
	}()
	if len(template) > maxTemplate {
		panic(errorAt(0, "%d bytes are too long for a template, at most %d", len(template), maxTemplate))
	}
	body := parse(template)
	in := newInterp(p, steps)
	in.run(body)
	return in.out.String(), nil
}
