package winrate

import (
	"os"
	"path/filepath"
	"testing"
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
