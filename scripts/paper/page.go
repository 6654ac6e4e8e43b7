package main

import (
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/orchestrator/experiment"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

// farthest is the KL in nats beyond which settings are plotted only where they are not clearly below the base policy.
const farthest = 20

// page writes a task's plots: reward against KL, and against decoded tokens.
func (s *study) page(path string) error {
	f := report.Frontier{Reward: s.x.Reward.Spec, Model: filepath.Base(s.models[0].file), Temp: s.x.Sampling.Temp}
	for i := range s.rows {
		r := &s.rows[i]
		if strings.HasSuffix(r.Family, " chosen") { // it stands there as one of those that it was chosen from
			continue
		}
		if r.Row.KL.Mean > farthest && s.minus(r.Rewards(0), s.rows[0].Rewards(0)).Hi < 0 { // it would take all of the width
			continue
		}
		f.Rows = append(f.Rows, report.FrontierRow{
			Result: eval.Result{
				Method: r.Row.Method, N: len(r.Cells[0].KL), Reward: r.Row.Reward, WinRate: r.Row.Wins.Mean,
				DecodedPerEmitted: r.DecodedPerEmitted, KL: r.Row.KL, KLKind: r.KLKind,
			},
			Family: r.Family, Guided: r.Kind == experiment.Guided, Ranked: r.Kind == experiment.Ranked, Tuned: r.Kind == experiment.Tuned,
		})
	}
	return report.WriteFrontier(path, f)
}
