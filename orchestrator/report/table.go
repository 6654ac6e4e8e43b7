package report

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// EvaluationTable prints how the methods of a run compare.
func EvaluationTable(w io.Writer, e *loop.Evaluation) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "method\tn\t%s reward\t95 %% interval\t", e.Reward)
	if e.Second != "" {
		fmt.Fprintf(t, "%s\t95 %% interval\t", e.Second)
	}
	fmt.Fprintln(t, "win rate\tdecoded/emitted\t")
	for _, m := range e.Methods {
		fmt.Fprintf(t, "%s\t%d\t%.2f\t%.2f to %.2f\t", m.Method, m.N, m.Reward.Mean, m.Reward.Lo, m.Reward.Hi)
		if s := m.Second; s != nil {
			fmt.Fprintf(t, "%.2f\t%.2f to %.2f\t", s.Mean, s.Lo, s.Hi)
		}
		fmt.Fprintf(t, "%.0f %%\t%.1f\t\n", 100*m.WinRate, m.DecodedPerEmitted)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(e.Overoptimized) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%s\n  %s\n", overoptimized(e.Reward, e.Second), strings.Join(warnings(e), "\n  "))
	return err
}

// overoptimized says what it means that a reward rises where a second one falls.
func overoptimized(reward, second string) string {
	return fmt.Sprintf("Over-optimized: the policy has found what %s mistakes for good, as %s says, from which nothing was learned. Follow it less far, take an ensemble of rewards with a lower bound, or mend it.", reward, second)
}

// warnings say where an evaluation found more reward and less by the second one.
func warnings(e *loop.Evaluation) (out []string) {
	for _, o := range e.Overoptimized {
		out = append(out, o.InWords(e.Reward, e.Second))
	}
	return out
}

// Finished prints what a run came to.
func Finished(w io.Writer, dir string, rounds int, evaluated bool) error {
	if evaluated {
		e, err := loop.ReadEvaluation(dir)
		if err != nil {
			return err
		}
		if err := EvaluationTable(w, e); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	m, err := run.Value[learn.Metrics](filepath.Join(dir, run.Metrics(rounds)))
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "value function: %s\n", filepath.Join(dir, run.Head(rounds)))
	if len(m.Tried) > 0 {
		fmt.Fprintf(w, "chosen: %s\n", choice(m.Tried, m.LeftOut))
	}
	_, err = fmt.Fprintf(w, "report: %s\n", filepath.Join(dir, File))
	return err
}

// PartsTable prints the scores on the held-out states.
func PartsTable(w io.Writer, parts []Part) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "held out\tstates\tR^2\tSpearman\tECE\t")
	for _, p := range parts {
		fmt.Fprintf(t, "%s\t%d\t%.3f\t%.3f\t%.3f\t\n", p.Name, p.Score.States, p.Score.R2, p.Score.Spearman, p.Score.ECE)
	}
	fmt.Fprintln(t)
	return t.Flush()
}

// Write prints what was trained, for people.
func (t *Training) Write(w io.Writer) error {
	if err := PartsTable(w, t.Parts()); err != nil {
		return err
	}
	s := sheet.Sheet{
		{"value function", t.Head},
		{"gives", fmt.Sprintf("%s, fitted to %s", t.Gives(), t.Target)},
		{"kind", fmt.Sprintf("%s, %d parameters, layers %v", t.Kind, t.Parameters, t.Layers)},
		{"trained on", fmt.Sprintf("%d states of %d trajectories of %d prompts; %d prompts held out", t.States, t.Trained, t.Prompts, t.HeldOut)},
		{"kept", kept(t.Report)},
		{"tokens", TokensInWords(t.Report)},
		{"time", fmt.Sprintf("%.1f s", t.Seconds)},
	}
	if len(t.Tried) > 0 {
		s = append(s, sheet.Property{"chosen", choice(t.Tried, t.LeftOut)})
	}
	if t.Page != "" {
		s = append(s, sheet.Property{"report", t.Page})
	}
	return s.Write(w)
}

// FineTuningTable prints what was fine-tuned, for people.
func FineTuningTable(w io.Writer, t *learn.FineTuning) error {
	if err := PartsTable(w, PartsOf(&t.Report.HeldOut)); err != nil {
		return err
	}
	return sheet.Sheet{
		{"value model", t.Model},
		{"gives", fmt.Sprintf("a distribution over %d returns, fitted to %s", t.Atoms, t.Target)},
		{"kind", fmt.Sprintf("%s, %d parameters, from %s", t.Kind, t.Parameters, t.Policy)},
		{"trained on", fmt.Sprintf("%d states of %d trajectories of %d prompts; %d prompts held out", t.States, t.Trained, t.Prompts, t.HeldOut)},
		{"time", fmt.Sprintf("%.1f s", t.Seconds)},
	}.Write(w)
}
