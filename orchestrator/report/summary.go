package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
)

// describe adds what the loop means by a method's name.
func describe(r eval.Result, o *loop.Options) method {
	beam := fmt.Sprintf("block beam search, %d beams, blocks of %d tokens, value function of round ", o.Search.Beams, o.Search.Block)
	m := method{r, alone, ""}
	if beta, ok := strings.CutPrefix(r.Method, "guided-b"); ok {
		m.Kind, m.Note = guided, "sampling guided by the value function of round "+fmt.Sprint(o.Rounds)+", beta "+beta
	}
	if t, ok := strings.CutPrefix(r.Method, "base-t"); ok {
		m.Note = "model alone, temperature " + t
	} else if n, ok := strings.CutPrefix(r.Method, "best-of-"); ok {
		m.Kind, m.Note = ranked, n+" samples, the one of the highest value"
	}
	switch r.Method {
	case "base":
		m.Note = fmt.Sprint("model alone, temperature ", o.Sampling.Temp)
	case "greedy":
		m.Note = "model alone, likeliest token each time"
	case "ivo*":
		m.Kind, m.Note = guided, beam+"1"
	case "ivo":
		m.Kind, m.Note = guided, beam+fmt.Sprint(o.Rounds)
	}
	return m
}

// compared are the base policy, greedy decoding and the last guided method, those that
// were evaluated.
func (r *progress) compared() (out []method) {
	for i, m := range r.Methods {
		if i == 0 || m.Method == "greedy" {
			out = append(out, m)
		}
	}
	for _, m := range slices.Backward(r.Methods) {
		if m.Kind == guided {
			return append(out, m)
		}
	}
	return nil
}

// Headline states the main result in a sentence, or how far the run is.
func (r *progress) Headline() string {
	done, all := len(r.Rounds), r.Options.Rounds
	if ms := r.compared(); ms != nil {
		base, ivo := ms[0], ms[len(ms)-1]
		return fmt.Sprintf("Value-guided block beam search scores %s where the model alone scores %s; it wins on %s of %s prompts.",
			interval(ivo.Reward), interval(base.Reward), percent(ivo.WinRate), count(ivo.N))
	}
	switch s := fmt.Sprintf("%d of %d rounds have a trained value function", done, all); {
	case done < all:
		return fmt.Sprintf("The run is not finished: %s; round %d has %d shards of trajectories.", s, done+1, r.shards)
	case r.Options.EvalPrompts == "" && r.Options.HoldOut == 0:
		return fmt.Sprintf("The run is finished: %s. Without evaluation prompts nothing was compared.", s)
	default:
		return fmt.Sprintf("The run is not finished: %s, the evaluation is still to come.", s)
	}
}

// comparison sets methods side by side on the same prompts.
type comparison struct {
	Methods  []method
	Gains    []string // of the last method over each other
	Examples []example
}

type example struct {
	ID, Prompt string
	Percentile int
	Gain       float64
	Answers    []eval.Answer // one a method
}

// Comparison shows what guidance gains, and the prompts in the middle of each fifth when
// all are ordered by its gain over the base policy. It is nil where answers are missing.
func (r *progress) Comparison() *comparison {
	c := &comparison{Methods: r.compared()}
	for _, m := range c.Methods {
		if len(m.Answers) != m.N {
			return nil
		}
	}
	if c.Methods == nil || c.Methods[0].N < 5 {
		return nil
	}
	n := c.Methods[0].N
	others, ivo := c.Methods[:len(c.Methods)-1], c.Methods[len(c.Methods)-1]
	gains := make([][]float64, len(others)) // [method][prompt]
	for k, m := range others {
		for i, a := range ivo.Answers {
			gains[k] = append(gains[k], a.Reward-m.Answers[i].Reward)
		}
		c.Gains = append(c.Gains, fmt.Sprintf("On the same prompts, %s minus %s is %s.", ivo.Method, m.Method, interval(eval.Bootstrap(gains[k], r.seed))))
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(gains[0][i], gains[0][j]) })
	for percentile := 10; percentile < 100; percentile += 20 {
		i := order[percentile*n/100]
		id := ivo.Answers[i].Prompt
		e := example{ID: id, Prompt: r.prompts[id], Percentile: percentile, Gain: gains[0][i]}
		for _, m := range c.Methods {
			e.Answers = append(e.Answers, m.Answers[i])
		}
		c.Examples = append(c.Examples, e)
	}
	return c
}

// num is a number with some decimals and a real minus sign.
func num(v float64, decimals int) string {
	s := fmt.Sprintf("%.*f", decimals, v)
	if strings.Trim(s, "-0.") == "" {
		s = strings.TrimPrefix(s, "-")
	}
	return strings.Replace(s, "-", "−", 1)
}

// count is a number from 0 with its thousands set apart.
func count(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func percent(share float64) string { return num(100*share, 0) + "\u00a0%" }

func interval(i eval.Interval) string {
	return fmt.Sprintf("%s [%s,\u00a0%s]", num(i.Mean, 2), num(i.Lo, 2), num(i.Hi, 2))
}
