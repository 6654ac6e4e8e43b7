package tune

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/orchestrator/eval"
)

// Report tells what was tried, which policy was taken, and what that took.
type Report struct {
	Policy     string   `json:"policy"`
	Base       string   `json:"base"`
	Backbone   string   `json:"backbone"` // fingerprint of the base policy
	Loss       Loss     `json:"loss"`
	Pairs      int      `json:"pairs"`              // learned from
	Left       int      `json:"left,omitempty"`     // too long ones
	Validation int      `json:"validation"`         // prompts
	Samples    int      `json:"samples"`            // of each of them by each policy
	Compared   *Tried   `json:"compared,omitempty"` // the base policy on the validation prompts
	Tried      []*Tried `json:"tried"`
	Effort     Effort   `json:"effort"`
}

// Tried is a policy, with what its answers to the validation prompts gave.
type Tried struct {
	Beta   float64       `json:"beta,omitempty"` // or tau
	Rate   float64       `json:"lr,omitempty"`
	Step   int           `json:"step,omitempty"`
	Steps  int           `json:"steps,omitempty"`
	Ruined string        `json:"ruined,omitempty"` // why it could not answer; reward and KL are not known then
	Reward eval.Interval `json:"reward"`
	KL     eval.Interval `json:"kl"` // nats an answer, from the base policy
	Chosen bool          `json:"chosen,omitempty"`
}

// Effort is what a tuning took, whatever part of it was done earlier.
type Effort struct {
	Trained      int     `json:"policies_trained"`
	Compared     int     `json:"policies_compared"`
	Trajectories int     `json:"trajectories"`      // that the pairs were chosen from
	Answers      int     `json:"answers"`           // drawn of the policies to compare them
	Tokens       int     `json:"tokens_trained_on"` // over all trainings
	Reference    int     `json:"tokens_of_reference"`
	Answered     int     `json:"tokens_of_answers"`
	FLOPs        float64 `json:"flops"`             // 6 a parameter and token trained on, 2 a token that is read or drawn
	Seconds      float64 `json:"seconds,omitempty"` // of training
}

func (t *tuning) effort(settings []*setting) Effort {
	e := Effort{Trained: len(settings), Trajectories: t.Trajectories}
	if t.Loss != SFT {
		for _, p := range t.pairs {
			e.Reference += len(p.Chosen.Tokens) + len(p.Rejected.Tokens)
		}
	}
	for _, s := range settings {
		e.Tokens += s.Tokens
		e.Seconds += s.Seconds
		for _, c := range s.candidates {
			if len(t.Validation) > 0 && c.Ruined == "" {
				e.Compared++
				e.Answers += len(t.Validation) * t.Samples
				e.Answered += c.tokens
			}
		}
	}
	// An answer is drawn, and read by both policies to compare them.
	e.FLOPs = float64(t.base.Config.Params()) * (6*float64(e.Tokens) + 2*float64(e.Reference) + 2*3*float64(e.Answered))
	return e
}

// Write prints the report.
func (r *Report) Write(w io.Writer) error {
	if r.Compared != nil {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintf(t, "\t%s\tlr\tstep\treward\t\tKL\t\t\n", r.beta())
		fmt.Fprintf(t, "base\t\t\t\t%s\t%s\t\n", interval(r.Compared.Reward), "0\t")
		for _, c := range r.Tried {
			mark, beta := "", fmt.Sprint(c.Beta)
			if c.Chosen {
				mark = "taken"
			}
			if r.Loss == SFT {
				beta = ""
			}
			reward, kl := interval(c.Reward), interval(c.KL)
			if c.Ruined != "" {
				reward, kl = "ruined\t", "\t"
			}
			fmt.Fprintf(t, "%s\t%s\t%.3g\t%d of %d\t%s\t%s\t\n", mark, beta, c.Rate, c.Step, c.Steps, reward, kl)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	e, taken := r.Effort, &Tried{}
	var betas, rates []float64
	for _, c := range r.Tried {
		betas, rates = append(betas, c.Beta), append(rates, c.Rate)
		if c.Chosen {
			taken = c
		}
	}
	s := sheet.Sheet{
		{"policy", r.Policy},
		{"trained", fmt.Sprintf("%d policies by %s on %d pairs, chosen from %d trajectories", e.Trained, r.Loss, r.Pairs, e.Trajectories)},
	}
	if r.Left > 0 {
		s = append(s, sheet.Property{"left out", fmt.Sprintf("%d pairs that are too long", r.Left)})
	}
	if r.Compared != nil {
		s = append(s, sheet.Property{"chosen", fmt.Sprintf("of %d policies by %d answers to %d validation prompts", e.Compared, e.Answers, r.Validation)})
	} else {
		s = append(s, sheet.Property{"chosen", "nothing: it is the last policy of the first setting (a reward chooses among several)"})
	}
	for _, edge := range []string{atEdge(r.beta(), betas, taken.Beta), atEdge("lr", rates, taken.Rate)} {
		if edge != "" {
			s = append(s, sheet.Property{"note", edge})
		}
	}
	return append(s, sheet.Property{"effort", fmt.Sprintf("%d tokens trained on in %v, %d of the reference, %d of answers; %.2g FLOPs", e.Tokens, time.Duration(e.Seconds*float64(time.Second)).Round(time.Second), e.Reference, e.Answered, e.FLOPs)}).Write(w)
}

// beta is what the setting beta is called.
func (r *Report) beta() string { return map[Loss]string{DPO: "beta", IPO: "tau", SFT: ""}[r.Loss] }

// atEdge says that a setting was taken beyond which nothing was tried, where several were.
func atEdge(name string, tried []float64, taken float64) string {
	tried = slices.Compact(slices.Sorted(slices.Values(tried)))
	switch {
	case len(tried) < 3:
		return ""
	case taken == tried[0]:
		return fmt.Sprintf("the smallest %s was taken, %v: a smaller one may be better", name, taken)
	case taken == tried[len(tried)-1]:
		return fmt.Sprintf("the largest %s was taken, %v: a larger one may be better", name, taken)
	}
	return ""
}

func interval(i eval.Interval) string { return fmt.Sprintf("%.3f\t[%.3f, %.3f]", i.Mean, i.Lo, i.Hi) }
