package chat

import (
	"bytes"
	"testing"
)

// Whatever a server streams, it is told or refused.
func FuzzStream(f *testing.F) {
	for _, text := range []string{
		"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n", "data: {\"error\":{\"message\":\"no\"}}\n", ": ping\ndata:{}\n", "data: {\"choices\":[{}]}\r\n\r\n", "data: [",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		told := 0
		err := stream(bytes.NewReader(data), func(text string) { told += len(text) })
		if err == nil && !bytes.Contains(data, []byte("[DONE]")) {
			t.Error("a stream without an end")
		}
		if told > 3*len(data) { // a byte that is no text becomes a character of three
			t.Errorf("%d bytes are told of %d", told, len(data))
		}
		said(data)
	})
}
