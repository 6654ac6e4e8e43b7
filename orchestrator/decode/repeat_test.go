package decode_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/valuehead"
)

// A value model beside the policy gives equal lists of jobs equal values to the bit, whoever of them asks it first and
// whatever it read before: a run that was stopped goes on as if it had not been.
func TestValueModelRepeats(t *testing.T) {
	e := open(t)
	source := valueModel(t, labModel, brevity(t, e, valuehead.Recall), engine.Params{Ctx: 1024, Sequences: 24}).Source(valuehead.Reading{Beta: 0.5})
	other := open(t)
	listOn := func(e *engine.Engine, s decode.Strategy, n int) []decode.Response {
		t.Helper()
		out := make([]decode.Response, n)
		var jobs []engine.Job
		for i := range out {
			req := asked(t, e, i%len(prompts))
			req.Key, req.MaxTokens, req.Value, req.EachValue = uint64(i), 6+3*i, source, true
			job, err := s.Job(e, req, func(r decode.Response) { out[i] = r })
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, job)
		}
		run(t, e, jobs...)
		return out
	}
	for _, s := range guided {
		want := listOn(e, s, 6)
		for again := range 2 {
			listOn(e, s, 1+again) // leaves the model with something else
			beside := make(chan bool)
			go func() { // as another engine's requests do
				defer close(beside)
				listOn(other, s, 5)
			}()
			answers := listOn(e, s, 6)
			<-beside
			for i, got := range answers {
				if a, b := bits(want[i]), bits(got); a != b {
					t.Fatalf("%s, answer %d, another time:\n%s\n%s", s.Method, i, a, b)
				}
			}
		}
	}
}

// bits is all of a response that depends on values.
func bits(r decode.Response) string {
	s := fmt.Sprintf("%q %x", r.Text, math.Float32bits(r.Value))
	for _, v := range r.Values {
		s += fmt.Sprintf(" %x", math.Float32bits(v))
	}
	return s
}
