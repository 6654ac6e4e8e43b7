package winrate

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/reward/judge"
)

// Whatever two files of answers hold, they are refused, or paired by prompt and sample.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"id":"a","text":"b"}`), []byte(`{"id":"a","sample":0,"response":"c"}`))
	f.Add([]byte(`{"key":"k"}`+"\n"+`{"prompt_id":1,"text":"b","messages":[{"role":"user","content":"x"}]}`), []byte(`{"id":1,"prompt":"x","text":"c"}`))
	dir := f.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for path, data := range map[string][]byte{a: first, b: second} {
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		pairs, left, err := Read(a, b, nil)
		if err == nil && (len(pairs) == 0 || left < 0) {
			t.Errorf("%d pairs, %d left out", len(pairs), left)
		}
	})
}

// Whatever a file of verdicts holds, it is refused or gone on with, and what comes of it can be told; read again it is the same.
func FuzzVerdicts(f *testing.F) {
	pairs := pairsOf(2, func(i int) (a, b string) { return "a", "b" })
	length, err := reward.Open("length:3", reward.Options{})
	if err != nil {
		f.Fatal(err)
	}
	judges := []reward.Model{
		fake{verdict: func(judge.Pair) judge.Verdict { return judge.Verdict{Value: 1} }},
		fake{odds: true, verdict: func(judge.Pair) judge.Verdict { return judge.Verdict{Value: -2} }},
		length,
	}
	path := filepath.Join(f.TempDir(), "verdicts.jsonl")
	for i, m := range judges {
		info := m.Info()
		head := string(encoded(f, header{format, info.Name, info.Fingerprint, scaleOf(m)}))
		for _, line := range []string{
			"", string(encoded(f, Verdict{ID: "0", First: A, Preference: 1, Of: pairs[0].hash()})), `{"id":"1","preference":1e308,"rewards":[1e308,-1e308],"of":"` + pairs[1].hash() + `"}`,
			`{"id":"0","sample":-1,"preference":1e999,"of":"x"}`, `{"id":"0","first":"c","of":"x"}` + "\n" + `{"id":`,
		} {
			f.Add(uint8(i), []byte(head+"\n"+line+"\n"))
		}
	}
	f.Fuzz(func(t *testing.T, by uint8, data []byte) {
		m := judges[int(by)%len(judges)]
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		file, err := Open(path, m, pairs)
		if err != nil {
			return
		}
		defer file.Close()
		c := Comparison{Judge: m}
		verdicts, err := c.Run(t.Context(), pairs, file)
		if err != nil {
			t.Fatal(err)
		}
		r := c.Report(pairs, verdicts, 0, 1)
		if err := r.Write(io.Discard, "a", "b"); err != nil {
			t.Error(err)
		}
		if _, err := json.Marshal(r); err != nil {
			t.Error(err)
		}
		file.Close()
		again, err := Open(path, m, pairs)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if diff := cmp.Diff(file.verdicts, again.verdicts); diff != "" {
			t.Error(diff)
		}
	})
}

func encoded(t testing.TB, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
