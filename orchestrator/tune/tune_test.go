package tune

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// Prompts that are held out have no pair left, whatever their ids, and are answered once each.
func TestHoldOut(t *testing.T) {
	w := &Work{}
	for i := range 60 { // of every prompt two pairs
		w.Pairs = append(w.Pairs, Pair{Prompt: prompt.Encoded{Record: prompt.Record{ID: fmt.Sprint(i), Text: fmt.Sprint("p", i/2)}}})
	}
	if err := w.HoldOut(10, func(int) error { return nil }); err != nil {
		t.Fatal(err)
	}
	held := map[string]bool{}
	for _, p := range w.Validation {
		if held[p.Text] {
			t.Errorf("%s is held out twice", p.Text)
		}
		held[p.Text] = true
	}
	for _, p := range w.Pairs {
		if held[p.Prompt.Text] {
			t.Errorf("%s is learned from, too", p.Prompt.Text)
		}
	}
	if len(w.Pairs)+2*len(held) != 60 || len(held) < 4 || len(held) > 6 {
		t.Errorf("%d pairs are left, %d prompts held out", len(w.Pairs), len(held))
	}
	few := &Work{Pairs: w.Pairs[:3]}
	if err := few.HoldOut(0, func(int) error { return nil }); err == nil {
		t.Error("a tenth of three prompts is held out")
	}
}

// Within the KL that is allowed the reward decides, beyond it the distance.
func TestBetter(t *testing.T) {
	of := func(reward, kl float64) *candidate {
		return &candidate{Tried: Tried{Reward: eval.Interval{Mean: reward}, KL: eval.Interval{Mean: kl}}}
	}
	for _, c := range []struct {
		most, reward, kl, otherReward, otherKL float64
		better                                 bool
	}{
		{0, 2, 9, 1, 1, true}, {0, 1, 1, 1, 2, false}, // the first of equal ones stays
		{4, 2, 9, 1, 1, false}, {4, 2, 4, 1, 1, true}, {4, 1, 1, 2, 9, true}, {4, 2, 9, 1, 5, false}, {4, 1, 5, 2, 9, true},
	} {
		tuning := &tuning{Options: Options{MaxKL: c.most}}
		if tuning.better(of(c.reward, c.kl), of(c.otherReward, c.otherKL)) != c.better {
			t.Errorf("%+v", c)
		}
	}
}

// The tokens of a pair of texts are the texts, and what ends an answer.
func TestOfTexts(t *testing.T) {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := OfTexts(m, encoder, []preference.Pair{{Prompt: prompt.Record{Text: "i found a bell.\nTL;DR:"}, Chosen: " found bell", Rejected: " lost it, twice"}})
	if err != nil {
		t.Fatal(err)
	}
	for text, tokens := range map[string][]int32{" found bell": pairs[0].Chosen, " lost it, twice": pairs[0].Rejected} {
		last := len(tokens) - 1
		var got []byte
		for _, token := range tokens[:last] {
			piece, err := m.Piece(token, false)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, piece...)
		}
		if string(got) != text || !m.IsEOG(tokens[last]) {
			t.Errorf("%q becomes %q and the token %d", text, got, tokens[last])
		}
	}
}

// The report marks what was taken, and says where the grid ends too soon.
func TestReport(t *testing.T) {
	tried := func(beta float64) *Tried { return &Tried{Beta: beta, Rate: 1e-4, Step: 9, Steps: 9} }
	for taken, note := range map[int]string{0: "the smallest tau was taken, 0.1", 1: "", 2: "the largest tau was taken, 0.3"} {
		r := &Report{Loss: IPO, Compared: &Tried{}, Tried: []*Tried{tried(0.1), tried(0.2), tried(0.3)}}
		r.Tried[taken].Chosen = true
		var b strings.Builder
		if err := r.Write(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), fmt.Sprintf("taken  %v", r.Tried[taken].Beta)) || strings.Contains(b.String(), "note") != (note != "") || !strings.Contains(b.String(), note) {
			t.Errorf("%q: %s", note, b.String())
		}
	}
}
