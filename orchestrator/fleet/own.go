package fleet

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/run"
)

// Own is told what the run's machine draws and scores itself.
func (c *Coordinator) Own() batch.Own { return batch.Own{Drew: c.drewHere, Scored: c.scoredHere} }

// Alone is told what this machine does of a run that a fleet has begun and that goes on without it: it is written beside what the
// workers did when the end is called, and where the run is finished then, nothing is left of what was under way. It tells nobody of
// what no fleet has had a part in, or is no run.
func Alone(dir string, own Card, models ...*llama.Model) (told batch.Own, end func(finished bool) error, err error) {
	clear := func(finished bool) error {
		if !finished || len(models) == 0 { // who only scores finishes no run
			return nil
		}
		return abandon(filepath.Join(dir, run.FleetDir))
	}
	if _, err := os.Stat(filepath.Join(dir, run.FleetFile)); err != nil {
		return batch.Own{}, clear, nil
	}
	c := &crew{}
	if err := c.start(dir, own.with(models)); err != nil {
		return batch.Own{}, nil, err
	}
	for _, m := range c.old { // who only scores has no model of the run's, and offloads it as it did before
		if len(models) == 0 && m.Name == c.own.Called() {
			c.own.Offload = m.Offload
		}
	}
	now := func() {
		if c.due() {
			if err := c.save(); err != nil {
				slog.Debug("fleet: who did what", "err", err) // which is said at the end
			}
		}
	}
	return batch.Own{
		Drew:   func(file string, tokens int64) { c.drewHere(file, tokens); now() },
		Scored: func(file string) { c.scoredHere(file); now() },
	}, func(finished bool) error { return errors.Join(c.save(), clear(finished)) }, nil
}

// abandon removes what was under way, unless another process leads it.
func abandon(dir string) error {
	file := filepath.Join(dir, "lock")
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	lock := flock.New(file)
	if locked, err := lock.TryLock(); err != nil || !locked {
		return err
	}
	return errors.Join(lock.Close(), os.RemoveAll(dir))
}

// with is the card of a machine that has these models loaded.
func (c Card) with(models []*llama.Model) Card {
	for _, m := range models {
		if c.Offload = m.Offload(); c.Offload != "" {
			break
		}
	}
	return c
}
