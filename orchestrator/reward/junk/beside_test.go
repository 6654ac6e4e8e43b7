package junk

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// Two prompts of three and two answers, by hand: the first's order is turned in one pair, its best stays;
// at the second prompt the best changes; one answer has no score by the second reward.
func TestBeside(t *testing.T) {
	scores := func(values ...float64) (out []reward.Score) {
		for _, v := range values {
			s := reward.Score{Value: v}
			if math.IsNaN(v) {
				s.Err = unscored{}
			}
			out = append(out, s)
		}
		return out
	}
	prompts := []Answered{{Answers: make([]Answer, 3)}, {Answers: make([]Answer, 2)}, {Answers: make([]Answer, 2)}}
	got := beside("b", scores(1, 2, 3, 0, 4, 7, 7), scores(2, 1, 4, 4, 0, math.NaN(), 7), prompts)
	want := Beside{
		Reward: "b", Answers: 6, Shift: (1 - 1 + 1 + 4 - 4 + 0) / 6., Moved: (1 + 1 + 1 + 4 + 4 + 0) / 6., Most: 4,
		SD: math.Sqrt((1 + 4 + 9 + 0 + 16 + 49 - 17*17/6.) / 5), Pairs: 4, Flipped: 2, Choices: 2, Others: 1,
		// Ranks 1 2 3 0 4 5 and 2 1 3.5 3.5 0 5 around their mean of 2.5.
		Spearman: (-1.5*-.5 + -.5*-1.5 + .5*1 + -2.5*1 + 1.5*-2.5 + 2.5*2.5) / math.Sqrt(17.5*17),
	}
	if d := cmp.Diff(want, got, cmpopts.EquateApprox(0, 1e-9)); d != "" {
		t.Error(d)
	}
	same := beside("a", scores(1, 1, 2), scores(1, 1, 2), []Answered{{Answers: make([]Answer, 3)}})
	if same.Moved != 0 || same.Spearman < 1-1e-9 || same.Flipped != 0 || same.Others != 0 || same.Pairs != 2 {
		t.Errorf("a reward beside itself: %+v", same)
	}
}

type unscored struct{}

func (unscored) Error() string { return "no score" }
