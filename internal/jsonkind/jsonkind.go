// Package jsonkind names the kinds of JSON values in words, for errors about other people's
// files.
package jsonkind

import "bytes"

// Of says what a JSON value is by its first character.
func Of(raw []byte) string {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	if len(raw) == 0 {
		return Nothing
	}
	switch raw[0] {
	case '"':
		return Text
	case '{':
		return Object
	case '[':
		return List
	case 'n':
		return Null
	case 't', 'f':
		return Bool
	}
	return Number
}

// The kinds.
const (
	Nothing = "nothing"
	Null    = "null"
	Text    = "a text"
	Number  = "a number"
	Bool    = "true or false"
	List    = "a list"
	Object  = "an object"
)
