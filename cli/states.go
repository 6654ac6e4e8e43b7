package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

func statesCommand() *cli.Command {
	return &cli.Command{
		Name: "states", Usage: "verify and repair shards of cached states",
		Subcommands: []*cli.Command{
			{
				Name: "verify", Usage: "read shards of states to the end and name what is damaged",
				ArgsUsage:   "FILE...",
				Description: "Example:\n\n  ivo states verify runs/first/iter-01/states/*.states",
				Flags:       []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON, one line a shard"}},
				Action:      verifyStates,
			},
			{
				Name: "repair", Usage: "write what is sound in a shard of states to a new one",
				ArgsUsage:   "FILE -o OUT",
				Description: "What is torn or damaged is left out. Example:\n\n  ivo states repair damaged.states -o sound.states",
				Flags:       []cli.Flag{&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "`FILE` to write"}},
				Action:      repairStates,
			},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef(c, "unknown command %q", c.Args().First())
			}
			return cli.ShowSubcommandHelp(c)
		},
	}
}

func verifyStates(c *cli.Context) error {
	paths := c.Args().Slice()
	if len(paths) == 0 {
		return usagef(c, "nothing to verify (name shards of states)")
	}
	bad := 0
	for _, path := range paths {
		report, err := states.Verify(c.Context, path)
		var unreadable *states.Error
		switch {
		case errors.As(err, &unreadable): // the others may be sound
			report = &states.Report{Path: path, Faults: []*states.Error{unreadable}}
		case err != nil:
			return fmt.Errorf("verify: %w (check the path)", err)
		}
		if !report.Sound() {
			bad++
		}
		if c.Bool("json") {
			err = printJSON(c, report)
		} else {
			err = printReport(c.App.Writer, report)
		}
		if err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d shards are not sound (ivo states repair keeps what is)", bad, len(paths))
	}
	return nil
}

func repairStates(c *cli.Context) error {
	args, out := c.Args().Slice(), c.String("output")
	switch {
	case len(args) != 1:
		return usagef(c, "%d shards to repair (name one)", len(args))
	case out == "":
		return usagef(c, "no -o: it names the file to write")
	}
	if err := vacant(out, "give another -o, or remove it"); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	report, err := states.Repair(c.Context, args[0], out)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("repair: %w (check the paths)", err)
	}
	if err != nil {
		return err
	}
	if err := printReport(c.App.Writer, report); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: written, %d trajectories\n", out, report.Trajectories)
	return err
}

// printReport prints what of a shard is sound in a line, and each fault in one more.
func printReport(w io.Writer, r *states.Report) error {
	verdict := "sound"
	if !r.Sound() {
		verdict = "not sound"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s; %d trajectories, %d states", r.Path, verdict, r.Trajectories, r.States)
	if r.Schema.Prompts {
		fmt.Fprintf(&b, ", %d prompts", r.Prompts)
	}
	fmt.Fprintf(&b, " in %d blocks\n", r.Blocks)
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "  %s%s\n", f.Where(), f.Msg)
		if lost := lostTrajectories(f); lost != "" {
			fmt.Fprintf(&b, "    lost: %s\n", lost)
		}
	}
	_, err := io.WriteString(w, b.String())
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
