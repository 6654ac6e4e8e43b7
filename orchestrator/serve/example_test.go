package serve_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/serve"
)

// A model is served, and a client asks.
func Example() {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	encoder, err := prompt.NewEncoder(m, prompt.Options{Template: "{{ messages[0].content }}\nTL;DR:"})
	if err != nil {
		fmt.Println(err)
		return
	}
	o := serve.Options{Model: m, Encoder: encoder, Size: 256}
	o.Policy.Strategy.Method = "sample"
	o.Policy.Strategy.N, o.Policy.Strategy.Beam.Beams, o.Policy.Strategy.Beam.Block = 1, 1, 1
	o.Policy.Strategy.Guide.TopK, o.Policy.Strategy.Guide.Rest = 1, "parent"
	server, err := serve.New(o)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	site := httptest.NewServer(server.Handler())
	defer site.Close()

	res, err := http.Post(site.URL+"/v1/chat/completions", "application/json", strings.NewReader(
		`{"messages": [{"role": "user", "content": "i found a lamp."}], "max_tokens": 3}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	var reply struct {
		Object string
		Usage  struct {
			Completion int `json:"completion_tokens"`
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&reply); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(res.StatusCode, reply.Object, reply.Usage.Completion, "tokens")
	// Output: 200 chat.completion 3 tokens
}
