package llama

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"strings"
	"time"
	"unsafe"

	"github.com/ivo-decoding/ivo/llama/jinja"
)

// ChatTemplate is the template stored in the model (llama_model_chat_template), "" if there
// is none.
func (m *Model) ChatTemplate() string { return m.tok.chatTemplate }

// Chat is how a conversation is shown to a model.
type Chat struct {
	// Template is a Jinja text, or the name of one that llama.cpp has built in, such as chatml;
	// the model's own where it is empty.
	Template string
	// Vars are further variables of a Jinja template, such as enable_thinking: what encoding/json
	// decodes into any, or json.RawMessage, whose objects keep the order of their keys.
	Vars map[string]any
	Open bool      // the assistant's turn is opened at the end
	Now  time.Time // of templates that tell the date; the zero value is the current time
}

// RenderChat is a conversation as text. A Jinja template, the model's own first of all, is run
// as the program that it is, by package jinja: llama.cpp's llama_chat_apply_template looks for
// marks of the families that it knows and writes their plain format, without the default
// system prompts, dates and thoughts that a template writes. Tokenize the text with special
// tokens added and parsed; a template may write a BOS token that the tokenizer adds too.
func (m *Model) RenderChat(messages []Message, c Chat) (string, error) {
	const op = "chat template"
	template := c.Template
	if template == "" {
		template = m.tok.chatTemplate
	}
	switch {
	case m.closed.Load():
		return "", &Error{Op: op, Err: ErrClosed}
	case template == "":
		return "", failf(op, "give one as {template}, for example chatml", "the model has none")
	case len(messages) == 0:
		return "", failf(op, "give at least one", "no messages")
	}
	for _, msg := range messages {
		if strings.ContainsRune(msg.Role, 0) || strings.ContainsRune(msg.Content, 0) {
			return "", failf(op, "take it out", "a message with a zero byte")
		}
	}
	if !IsJinja(template) {
		text, ok := builtInChat(template, messages, c.Open)
		if !ok {
			return "", failf(op, "give a Jinja text, or a built-in one such as chatml, llama3 or gemma", "llama.cpp has no template called %q", template)
		}
		return text, nil
	}
	p := jinja.Params{AddGenerationPrompt: c.Open, Extra: c.Vars, Now: c.Now}
	for _, msg := range messages {
		p.Messages = append(p.Messages, jinja.Message(msg))
	}
	var err error
	if p.BOS, err = m.specialText(m.BOS()); err != nil {
		return "", err
	}
	if p.EOS, err = m.specialText(m.EOS()); err != nil {
		return "", err
	}
	return jinja.Render(template, p)
}

// IsJinja says whether a template is a Jinja text, rather than the name of a built-in one.
func IsJinja(template string) bool {
	return strings.Contains(template, "{%") || strings.Contains(template, "{{")
}

// specialText is the text of a special token, "" for none.
func (m *Model) specialText(token int32) (string, error) {
	if token < 0 || m.tok.none {
		return "", nil
	}
	piece, err := m.readPiece(token, true)
	return string(piece), err
}

// builtInChat formats a chat by llama.cpp's own code, if it knows the template.
func builtInChat(template string, messages []Message, assistant bool) (string, bool) {
	start()
	size := 256
	strs := []*C.char{C.CString(template)}
	for _, msg := range messages {
		strs = append(strs, C.CString(msg.Role), C.CString(msg.Content))
		size += 2 * (len(msg.Role) + len(msg.Content))
	}
	defer func() {
		for _, s := range strs {
			C.free(unsafe.Pointer(s))
		}
	}()
	// The arrays of strings live in C: cgo passes no Go memory that holds pointers.
	n := len(messages)
	arr := unsafe.Slice((**C.char)(C.malloc(C.size_t(2*n)*C.size_t(unsafe.Sizeof(uintptr(0))))), 2*n)
	defer C.free(unsafe.Pointer(&arr[0]))
	for i := range messages {
		arr[i], arr[n+i] = strs[1+2*i], strs[2+2*i]
	}
	for range 2 {
		buf := make([]byte, size)
		k := int(C.ivo_chat(strs[0], &arr[0], &arr[n], C.size_t(n), C.bool(assistant), (*C.char)(unsafe.Pointer(&buf[0])), C.int32_t(size)))
		if k < 0 {
			return "", false
		}
		if k <= size {
			return string(buf[:k]), true
		}
		size = k
	}
	return "", false
}
