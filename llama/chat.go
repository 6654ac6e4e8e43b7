package llama

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"strings"
	"unsafe"

	"github.com/ivo-decoding/ivo/llama/jinja"
)

// Message is one turn of a chat.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// ChatTemplate is the template stored in the model (llama_model_chat_template), "" if there
// is none.
func (m *Model) ChatTemplate() string { return m.tok.chatTemplate }

// ApplyChat formats a chat with the model's own template, or with template if it is
// not empty: a Jinja text or the name of one that llama.cpp has built in. assistant opens
// the assistant's turn at the end. llama.cpp recognises the templates of the common
// families (llama_chat_apply_template); others are run as the Jinja that they are, by
// package jinja. Tokenize the text with special tokens added and parsed: a BOS token that
// the tokenizer adds is left out of the text.
func (m *Model) ApplyChat(template string, messages []Message, assistant bool) (string, error) {
	const op = "chat template"
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
	if text, ok := builtInChat(template, messages, assistant); ok {
		return text, nil
	}
	if !strings.Contains(template, "{%") && !strings.Contains(template, "{{") {
		return "", failf(op, "give a Jinja text, or a built-in one such as chatml, llama3 or gemma", "llama.cpp has no template called %q", template)
	}
	p := jinja.Params{AddGenerationPrompt: assistant}
	for _, msg := range messages {
		p.Messages = append(p.Messages, jinja.Message{Role: msg.Role, Content: msg.Content})
	}
	var err error
	if p.BOS, err = m.specialText(m.BOS()); err != nil {
		return "", err
	}
	if p.EOS, err = m.specialText(m.EOS()); err != nil {
		return "", err
	}
	text, err := jinja.Render(template, p)
	if err != nil {
		return "", err // it says that it is about the template
	}
	if m.AddBOS() && p.BOS != "" {
		text = strings.TrimPrefix(text, p.BOS)
	}
	return text, nil
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
