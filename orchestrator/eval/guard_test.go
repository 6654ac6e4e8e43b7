package eval_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// judged are 60 answers whose scores lie around two means, those of hard prompts lower.
func judged(method string, reward, second float64) eval.Judged {
	rng := rand.New(rand.NewPCG(uint64(len(method)), 7))
	j := eval.Judged{Method: method}
	for i := range 60 {
		of := batch.Response{Prompt: fmt.Sprint(i)}
		hard := float64(i%7) * 3
		j.Reward = append(j.Reward, eval.Answer{Response: of, Reward: reward - hard + rng.NormFloat64()/2})
		j.Second = append(j.Second, eval.Answer{Response: of, Reward: second - hard + rng.NormFloat64()/2})
	}
	return j
}

// The first reward rises with every step; the second rises, stays and falls, at last below where it began.
func TestGuard(t *testing.T) {
	steps := []eval.Judged{judged("base", 0, 0), judged("one", 1, 1), judged("two", 2, 1.05), judged("three", 3, .2), judged("four", 3.9, -1)}
	methods := append(slices.Clone(steps), judged("worse", -1, -1), judged("found", 1, -1))
	got := eval.Guard(methods, steps, 1)
	var pairs []string
	for _, o := range got {
		pairs = append(pairs, o.Than+" to "+o.Method)
	}
	if want := "two to three, three to four, base to four, base to found"; strings.Join(pairs, ", ") != want {
		t.Errorf("got %q, want %q", pairs, want)
	}
	words := got[0].InWords("the proxy", "gold")
	for _, want := range []string{"From two to three, the proxy rises by ", "gold falls by 0."} {
		if !strings.Contains(words, want) {
			t.Errorf("%q lacks %q", words, want)
		}
	}
	// What lacks a score is left out, on either side, whatever the order.
	last := judged("four", 3.9, -1)
	last.Second = last.Second[10:]
	slices.Reverse(last.Second)
	last.Reward = append(last.Reward, eval.Answer{Response: batch.Response{Prompt: "alone"}, Reward: 1e9})
	if got := eval.Guard([]eval.Judged{steps[0], last}, nil, 1); len(got) != 1 || got[0].Reward.Mean > 5 {
		t.Errorf("got %+v", got)
	}
	if got := eval.Guard(nil, nil, 1); got != nil {
		t.Errorf("got %+v of nothing", got)
	}
}

// Without an effect, a warning is rare: both intervals have to be clear, on opposite sides.
func TestGuardIsQuiet(t *testing.T) {
	warned := 0
	for i := range 40 {
		name := strings.Repeat("x", i)
		base, m := judged("b"+name, 0, 0), judged("bb"+name, .05, 0)
		warned += len(eval.Guard([]eval.Judged{base, m}, nil, 1))
	}
	if warned > 1 {
		t.Errorf("%d of 40 comparisons of equal methods warn", warned)
	}
}
