package cli

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
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
		Action: noCommand,
	}
}

func verifyStates(c *cli.Context) error {
	paths := c.Args().Slice()
	if len(paths) == 0 {
		return usagef(c, "nothing to verify (name shards of states)")
	}
	bad := 0
	for _, path := range paths {
		shard, err := inspect.Verify(c.Context, path)
		if err != nil {
			return err
		}
		if !shard.Sound() {
			bad++
		}
		if c.Bool("json") {
			err = printJSON(c, shard)
		} else {
			err = shard.Write(c.App.Writer)
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
	if err := atomicfile.Writable(out, false, "give another -o, or remove it"); err != nil {
		return fmt.Errorf("repair: %w", err)
	}
	shard, err := inspect.Repair(c.Context, args[0], out)
	if err != nil {
		return err
	}
	if err := shard.Write(c.App.Writer); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.App.Writer, "%s: written, %d trajectories\n", out, shard.Trajectories)
	return err
}
