package experiment

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// Whatever lies where a cell is kept, it is refused with a word on what to do, or has what comparisons are made of: a divergence of
// each prompt, and a score of each answer.
func FuzzCell(f *testing.F) {
	m, err := reward.Open("length:3", reward.Options{})
	if err != nil {
		f.Fatal(err)
	}
	of := func(answers int, kl, scores []number.Float) []byte {
		text, err := json.Marshal(Cell{Key: "k", Method: "m", Answers: answers, KL: kl, Rewards: []Scored{{Reward: "length:3", Fingerprint: m.Info().Fingerprint, Scores: scores}}})
		if err != nil {
			f.Fatal(err)
		}
		return text
	}
	two := []number.Float{1, 2}
	f.Add(of(1, two, two))
	f.Add(of(0, two, two))
	f.Add(of(-1, two, nil))
	f.Add(of(2, two, two))
	f.Add(of(1<<62, two, two))
	f.Add(of(1, nil, nil))
	f.Add([]byte(`{"key":"k","answers":1,"kl":[null,"-inf"],"rewards":null}`))
	f.Add([]byte("null"))
	path := filepath.Join(f.TempDir(), "cell.json")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := readCell(path, func(l *Learned) error { return keyed(l.Key, "k") }); err != nil && !strings.HasSuffix(err.Error(), ")") {
			t.Errorf("nothing to do about it: %v", err)
		}
		if kept, err := readCell(path, func(t *Tuning) error { return t.check("k") }); err == nil && kept.Report == nil {
			t.Error("a tuning without a report is read")
		}
		c, err := readCell(path, func(c *Cell) error { return c.check("k", 2) })
		if err != nil {
			if !strings.HasSuffix(err.Error(), ")") {
				t.Errorf("nothing to do about it: %v", err)
			}
			return
		}
		if c = c.with([]reward.Model{m}); c == nil {
			return
		}
		o := Outcome{Cells: []*Cell{c}}
		if n := len(o.Rewards(0)[0]); n != 2 || len(o.KL()[0]) != 2 {
			t.Errorf("%d means, %d divergences", n, len(o.KL()[0]))
		}
	})
}
