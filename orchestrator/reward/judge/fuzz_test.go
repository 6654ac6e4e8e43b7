package judge

import "testing"

// Whatever a judge says, it is a verdict within its bounds, or refused.
func FuzzReply(f *testing.F) {
	for _, said := range []string{`{"reason": "x", "verdict": 7}`, "```json\n{\"verdict\": \"A\"}\n```", `{"verdict": "tie"}`, `}{`, `{"verdict": null}`, `{"verdict": 1e400}`} {
		f.Add(said)
	}
	f.Fuzz(func(t *testing.T, said string) {
		for _, q := range []*question{questions[true].rate, questions[true].pair} {
			if v, err := q.parse(said); err == nil && !(v >= q.lo && v <= q.hi) {
				t.Errorf("%q is %g", said, v)
			}
		}
	})
}
