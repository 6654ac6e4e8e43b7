package inspect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// Shard says what of a shard of states is sound.
type Shard struct{ *states.Report }

// Verify reads a shard to its end. One that cannot be read at all is a finding too.
func Verify(ctx context.Context, path string) (Shard, error) {
	report, err := states.Verify(ctx, path)
	var unreadable *states.Error
	switch {
	case errors.As(err, &unreadable):
		report = &states.Report{Path: path, Faults: []*states.Error{unreadable}}
	case err != nil:
		return Shard{}, fmt.Errorf("verify: %w (check the path)", err)
	}
	return Shard{report}, nil
}

// Repair writes what is sound in the shard at path to a new one, and says what that is.
func Repair(ctx context.Context, path, out string) (Shard, error) {
	report, err := states.Repair(ctx, path, out)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("repair: %w (check the paths)", err)
	}
	return Shard{report}, err
}

// Write says in a line what is sound, and names each fault in one more.
func (s Shard) Write(w io.Writer) error {
	verdict := "sound"
	if !s.Sound() {
		verdict = "not sound"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s; %d trajectories, %d states", s.Path, verdict, s.Trajectories, s.States)
	if s.Schema.Prompts {
		fmt.Fprintf(&b, ", %d prompts", s.Prompts)
	}
	fmt.Fprintf(&b, " in %d blocks\n", s.Blocks)
	for _, f := range s.Faults {
		fmt.Fprintf(&b, "  %s%s\n", f.Where(), f.Msg)
		if lost := lostTrajectories(f); lost != "" {
			fmt.Fprintf(&b, "    lost: %s\n", lost)
		}
	}
	_, err := io.WriteString(w, terminal.Visible(b.String()))
	return err
}

// lostTrajectories says which trajectories a fault costs, as far as is known.
func lostTrajectories(f *states.Error) string {
	const shown = 8
	var names []string
	for _, t := range f.Lost[:min(len(f.Lost), shown)] {
		names = append(names, fmt.Sprintf("%s sample %d", t.Prompt, t.Sample))
	}
	if more := len(f.Lost) - shown; more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	switch {
	case f.First < 0 || f.Count == 0:
		return strings.Join(names, ", ")
	case len(names) == 0:
		return fmt.Sprintf("trajectories %d to %d, whose names are not known", f.First, f.First+f.Count-1)
	}
	return strings.Join(names, ", ") + fmt.Sprintf(" (from trajectory %d on)", f.First)
}
