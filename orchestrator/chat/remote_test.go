package chat_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/chat"
)

// A server is shown the whole conversation each time, and what it says of an error is told.
func TestRemote(t *testing.T) {
	var asked []llama.Message
	reply := ""
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Model    string
			Messages []llama.Message
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Model != "m" || r.URL.Path != "/v1/chat/completions" || r.Header.Get("Authorization") != "Bearer key" {
			t.Errorf("asked %s for %+v (%v)", r.URL.Path, body, err)
		}
		if asked = body.Messages; reply == "" {
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"error": {"message": "come back"}}`)
			return
		}
		for _, part := range strings.SplitAfter(reply, " ") {
			fmt.Fprintf(w, ": still searching\n\ndata: {\"choices\": [{\"delta\": {\"content\": %q}}]}\n\n", part)
		}
		fmt.Fprint(w, "data: {\"choices\": []}\n\ndata: [DONE]\n\n")
	}))
	defer site.Close()
	r := &chat.Remote{URL: site.URL + "/v1/", Key: "key", System: "Be brief.", Settings: map[string]any{"model": "m"}}
	for i, said := range []string{"so it is", "and so on"} {
		var got strings.Builder
		reply = said
		if err := r.Answer(t.Context(), fmt.Sprint("message ", i), func(b []byte) { got.Write(b) }); err != nil || got.String() != said {
			t.Errorf("answer %d: %q, %v", i, got.String(), err)
		}
	}
	want := []llama.Message{{Role: "system", Content: "Be brief."}, {Role: "user", Content: "message 0"}, {Role: "assistant", Content: "so it is"}, {Role: "user", Content: "message 1"}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Error(diff)
	}
	reply = ""
	if err := r.Answer(t.Context(), "again", func([]byte) {}); err == nil || !strings.Contains(err.Error(), "come back") {
		t.Errorf("%v", err)
	}
}
