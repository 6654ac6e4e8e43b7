package preference_test

import (
	"bytes"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Whatever a file of pairs holds, it is refused, or read into pairs whose sides differ.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		`{"prompt":"a","chosen":"b","rejected":"c"}`, `{"chosen":"\n\nHuman: a\n\nAssistant: b","rejected":"\n\nHuman: a\n\nAssistant: c"}`,
		`{"chosen":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}],"rejected":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}]}`,
		`{"instruction":"a","completions":[{"response":"b","overall_score":1},{"response":"c","overall_score":2.5}]}`,
		`{"prompt":"a","chosen_response":"b","rejected_response":"c","score_chosen":1,"score_rejected":0}`, "prompt,chosen,rejected\na,b,c\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		pairs, _, err := preference.Read("-", preference.Options{ReadOptions: prompt.ReadOptions{Stdin: bytes.NewReader(data)}})
		if err != nil {
			return
		}
		for _, p := range pairs {
			if p.Chosen == p.Rejected {
				t.Errorf("%+v", p)
			}
		}
	})
}
