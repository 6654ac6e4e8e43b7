package program_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/ivo-decoding/ivo/orchestrator/reward/program"
)

// A server that scores responses by their length, and an item that it refuses.
func ExampleServer() {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Items []struct{ Response string } }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var scores []any
		for _, item := range in.Items {
			if item.Response == "" {
				scores = append(scores, map[string]string{"error": "nothing was said"})
				continue
			}
			scores = append(scores, len(item.Response))
		}
		json.NewEncoder(w).Encode(map[string]any{"scores": scores})
	}))
	defer site.Close()

	s, err := program.NewServer(site.URL, program.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	answers, err := s.Score(context.Background(), []json.RawMessage{
		json.RawMessage(`{"id": "1", "response": "The sea."}`),
		json.RawMessage(`{"id": "2", "response": ""}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, a := range answers {
		fmt.Println(a.Value, a.Err)
	}
	// Output:
	// 8 <nil>
	// 0 nothing was said
}
