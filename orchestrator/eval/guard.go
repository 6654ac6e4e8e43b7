package eval

import "fmt"

// Judged are a method's answers with their scores by the reward that guides, and with those by a second
// one from which nothing was learned. Prompts may be missing on either side.
type Judged struct {
	Method         string
	Reward, Second []Answer
}

// Overoptimization is a method that has gained reward over another one and lost by the second reward,
// both beyond doubt: what it found is what the reward mistakes for good (Gao et al. 2022, arXiv
// 2210.10760). Intervals are of the differences, prompt by prompt.
type Overoptimization struct {
	Method string   `json:"method"`
	Than   string   `json:"than"`
	Reward Interval `json:"reward"`
	Second Interval `json:"second"`
}

// BeyondDoubt says whether both intervals are clear of 0.
func (o Overoptimization) BeyondDoubt() bool { return o.Reward.Lo > 0 && o.Second.Hi < 0 }

// Guard finds over-optimization. The methods' first is the base policy, with which all others are compared;
// rising are those that follow the reward ever further, from the base policy on: each is compared with
// the one before, too.
func Guard(methods, rising []Judged, seed uint64) (found []Overoptimization) {
	compare := func(than, m Judged) {
		reward, second := differences(m, than)
		if o := (Overoptimization{m.Method, than.Method, Bootstrap(reward, seed), Bootstrap(second, seed)}); o.BeyondDoubt() {
			found = append(found, o)
		}
	}
	for i := 2; i < len(rising); i++ { // the second is one of the methods
		compare(rising[i-1], rising[i])
	}
	for _, m := range methods[min(1, len(methods)):] {
		compare(methods[0], m)
	}
	return found
}

// differences are what a gains over b on the prompts whose answers have all scores.
func differences(a, b Judged) (reward, second []float64) {
	of := func(answers []Answer) map[string]float64 {
		m := make(map[string]float64, len(answers))
		for _, x := range answers {
			m[x.Prompt] = x.Reward
		}
		return m
	}
	others, aSecond, bSecond := of(b.Reward), of(a.Second), of(b.Second)
	for _, x := range a.Reward {
		y, ok1 := others[x.Prompt]
		s, ok2 := aSecond[x.Prompt]
		t, ok3 := bSecond[x.Prompt]
		if ok1 && ok2 && ok3 {
			reward, second = append(reward, x.Reward-y), append(second, s-t)
		}
	}
	return reward, second
}

// InWords says what was found, naming the rewards.
func (o Overoptimization) InWords(reward, second string) string {
	return fmt.Sprintf("From %s to %s, %s rises by %.2f [%.2f, %.2f] and %s falls by %.2f [%.2f, %.2f].",
		o.Than, o.Method, reward, o.Reward.Mean, o.Reward.Lo, o.Reward.Hi, second, -o.Second.Mean, -o.Second.Hi, -o.Second.Lo)
}
