package judge_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/judge"
	"github.com/ivo-decoding/ivo/orchestrator/reward/program"
)

// A server whose model likes the first of two answers.
func ExampleJudge() {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"choices": [{"message": {"content": "A"}, "logprobs": {"content": [
			{"token": "A", "top_logprobs": [{"token": "A", "logprob": -0.1}, {"token": "B", "logprob": -2.4}]}]}}]}`)
	}))
	defer site.Close()

	j, err := judge.Open(site.URL+"/v1", program.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer j.Close()
	verdicts, err := j.Compare(context.Background(), []judge.Pair{{
		Prompt: prompt.Record{ID: "1", Text: "Who wrote Faust?"}, A: "Goethe.", B: "Schiller.",
	}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("log-odds %.1f for A, it said %s\n", verdicts[0].Value, verdicts[0].Said)
	// Output: log-odds 2.3 for A, it said A
}
