package report

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// FleetLines are a line for the stage that a fleet is at, if any, and one for each of its workers, those that are there first.
func FleetLines(s *fleet.Status, stage string) (lines []string) {
	if stage != "" {
		text := fmt.Sprintf("%s: %d of %d shards", stage, s.Done, s.Total)
		if s.Scoring > 0 {
			text += fmt.Sprintf(", %d files being scored", s.Scoring)
		}
		lines = append(lines, text+about(time.Duration(s.Left*float64(time.Second))))
	}
	gone := func(w fleet.Worker) int {
		if w.State == "works" || w.State == "waits" || w.State == "own" {
			return 0
		}
		return 1
	}
	workers := slices.Clone(s.Workers)
	slices.SortStableFunc(workers, func(a, b fleet.Worker) int { return gone(a) - gone(b) })
	for _, w := range workers {
		text := fmt.Sprintf("  %-20s %3d cores  %-7s %5d shards %5d scored %8.1f tokens/s", w.Name, w.Cores, w.State, w.Shards, w.Scored, w.Rate)
		if len(w.Doing) > 0 {
			text += "  " + strings.Join(w.Doing, ", ")
		}
		if w.Failures > 0 {
			text += fmt.Sprintf("  (%d failed)", w.Failures)
		}
		lines = append(lines, text)
	}
	if s.Mixed {
		lines = append(lines, MixedFleet)
	}
	return lines
}

// WorkerLine says how a worker is.
func WorkerLine(w *fleet.Working) string {
	if s := w.Sent; s != nil {
		text := fmt.Sprintf("%s: %s of %s", s.Name, sheet.Size(uint64(s.Here)), sheet.Size(uint64(s.Of)))
		if s.Rate > 0 {
			text += fmt.Sprintf(", %s/s%s", sheet.Size(uint64(s.Rate)), about(time.Duration(float64(s.Of-s.Here)/s.Rate*float64(time.Second))))
		}
		return text
	}
	text := fmt.Sprintf("%d shards drawn, %d scored, %.1f tokens/s, ", w.Shards, w.Scored, w.Rate)
	if len(w.Doing) == 0 {
		return text + "nothing in hand"
	}
	return text + "in hand: " + strings.Join(w.Doing, ", ")
}

// about says how long something takes still, if that is known.
func about(left time.Duration) string {
	if left <= 0 {
		return ""
	}
	return fmt.Sprintf(", about %v left", left.Round(max(time.Second, left.Round(time.Minute)/60)))
}

// whoDrew is who drew a run or an experiment, nil where no fleet has had a part in it.
func whoDrew(dir string) (*fleet.Record, error) {
	r, err := fleet.ReadRecord(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w (remove it: it says who drew the run, and nothing depends on it)", filepath.Join(dir, run.FleetFile), err)
	}
	return r, nil
}

// FleetTable writes how a fleet is, or who drew a finished run.
func FleetTable(w io.Writer, members []fleet.Member, mixed bool) error {
	if len(members) == 0 {
		_, err := fmt.Fprintln(w, "no worker has drawn anything")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "worker\tcores\tshards\tscored\ttokens\ttokens/s\tfailed\tbuild\tCPU\toffload")
	for _, m := range members {
		fmt.Fprintln(t, terminal.Visible(fmt.Sprintf("%s\t%d\t%d\t%d\t%d\t%.1f\t%d\t%s\t%s\t%s", m.Name, m.Cores, m.Shards, m.Scored, m.Tokens, m.Rate(), m.Failures, m.Build, m.CPU, m.Offload)))
	}
	if err := t.Flush(); err != nil || !mixed {
		return err
	}
	_, err := fmt.Fprintln(w, "\n"+MixedFleet)
	return err
}

// MixedFleet says what a run is that machines of several kinds have drawn.
const MixedFleet = "The machines' builds, kinds of CPU or what they offload differ: a shard drawn again by another of them may differ by rounding."
