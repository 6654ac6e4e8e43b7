package states

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// Report says what of a shard is sound.
type Report struct {
	Path    string `json:"path"`
	Version int    `json:"version"` // of the format
	Schema  Schema `json:"schema"`
	Blocks  int    `json:"blocks"` // sound ones or not
	// What is sound. A trajectory whose prompt is lost is not.
	Prompts      int `json:"prompts"` // stored ones
	Trajectories int `json:"trajectories"`
	States       int `json:"states"`
	// Finished says that the shard is closed by a sound index.
	Finished bool     `json:"finished"`
	Faults   []*Error `json:"faults"`
}

// Sound reports whether the shard is finished and without a fault.
func (r *Report) Sound() bool { return len(r.Faults) == 0 }

// Verify reads all of the shard at path. Faults are in the report; an error means that it
// is no shard, or that nothing of it can be read.
func Verify(ctx context.Context, path string) (*Report, error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return inspect(ctx, r, nil)
}

// Repair writes a finished shard at out that holds all that is sound in the one at path,
// which stays as it is. What is torn or damaged is left out, nothing is guessed. The report
// is of the shard at path. Shards of versions 1 and 2 become ones of version 2, which
// keeps their rewards.
func Repair(ctx context.Context, path, out string) (*Report, error) {
	if same(path, out) {
		return nil, fmt.Errorf("repair %s: the repaired shard cannot take its place (name another file)", path)
	}
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var report *Report
	err = atomicfile.Write(out, func(to io.Writer) error {
		w, err := begin(out, to, r.schema, Options{version: max(2, r.version)})
		if err != nil {
			return err
		}
		if report, err = inspect(ctx, r, w); err != nil {
			return err
		}
		return w.finish()
	})
	return report, err
}

func same(a, b string) bool {
	sa, errA := os.Stat(a)
	sb, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(sa, sb)
}

// inspect reads a shard and appends what is sound to w, if it is not nil.
func inspect(ctx context.Context, r *Reader, w *Writer) (*Report, error) {
	t := r.table.Load()
	report := &Report{Path: r.path, Version: r.version, Schema: r.schema, Blocks: len(t.blocks), Finished: t.finished}
	s := survey{r, report, w, map[string]bool{}}
	for _, b := range t.blocks {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if err := s.block(b); err != nil {
			return nil, err
		}
	}
	report.Faults = append(report.Faults, r.Faults()...)
	slices.SortStableFunc(report.Faults, func(a, b *Error) int { return cmp.Compare(a.From, b.From) })
	return report, nil
}

// survey reads a shard block by block.
type survey struct {
	r       *Reader
	report  *Report
	to      *Writer         // or nil
	prompts map[string]bool // sound so far
}

func (s *survey) block(b *block) error {
	d, err := s.r.directory(b)
	if err != nil {
		return s.fault(err)
	}
	for i := range d.prompts {
		p, err := s.r.promptAt(b, i)
		if err != nil {
			if err := s.fault(err); err != nil {
				return err
			}
			continue
		}
		s.prompts[p.ID] = true
		s.report.Prompts++
		if s.to != nil {
			if err := s.to.AppendPrompt(&p); err != nil {
				return err
			}
		}
	}
	all, err := s.r.Block(b.number)
	if err != nil {
		if err := s.pages(b, d); err != nil {
			return err
		}
	}
	var orphans []Meta
	for i := range d.trajectories {
		var t Trajectory
		if all != nil {
			t = all[i]
		} else if t, err = s.r.Trajectory(b.first + i); err != nil {
			continue // its page is among the faults
		}
		if s.r.schema.Prompts && !s.prompts[t.Prompt] {
			orphans = append(orphans, Meta{t.Prompt, t.Sample, len(t.Tokens)})
			continue
		}
		s.report.Trajectories++
		s.report.States += len(t.Tokens)
		if s.to != nil {
			reward := nan
			if d.rewards != nil {
				reward = d.rewards[i]
			}
			if err := s.to.append(&t, reward); err != nil {
				return err
			}
		}
	}
	if len(orphans) > 0 {
		e := s.r.fault(b.number, b.offset, b.offset+b.length, "the prompts of some trajectories are lost", hintDamaged)
		e.Count, e.Lost = len(orphans), orphans
		s.report.Faults = append(s.report.Faults, e)
	}
	return nil
}

// pages names the faults of a block's trajectories.
func (s *survey) pages(b *block, d *directory) error {
	k, total := trajectoryRows(s.r.schema), d.rows[len(d.trajectories)]
	for lo := 0; lo < total; lo += d.page {
		hi := min(lo+d.page, total)
		if err := s.r.read(b, d, false, lo, hi, makeRows(k, hi-lo)); err != nil {
			if err := s.fault(err); err != nil {
				return err
			}
		}
	}
	return nil
}

// fault notes a fault once: several prompts may meet the same one.
func (s *survey) fault(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	for _, f := range s.report.Faults {
		if f.From == e.From && f.To == e.To && f.Block == e.Block {
			return nil
		}
	}
	s.report.Faults = append(s.report.Faults, e)
	return nil
}
