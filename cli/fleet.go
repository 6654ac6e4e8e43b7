package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/cachedir"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/fleet"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

const fleetCategory = "Fleet"

// fleetFlags let other machines draw.
func fleetFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "fleet", Usage: "let workers draw the shards: ivo worker on this machine and, with --listen or --nats, on others", Category: fleetCategory},
		&cli.StringFlag{Name: "listen", Usage: "`ADDRESS` at which workers find the run; one that other machines reach asks for the invitation of ivo fleet invite", Value: fleet.DefaultListen, Category: fleetCategory},
		natsFlag("of a NATS server with JetStream to use instead of one's own"),
		&cli.DurationFlag{Name: "heartbeat", Usage: "`TIME` after which the shard of a worker that is silent is given to another", Value: 30 * time.Second, Category: fleetCategory},
		&cli.Float64Flag{Name: "store", Usage: "`GIB` that the run's own server may keep on the disk: half for files that are sent, a quarter for results", DefaultText: "three quarters of what is free", Category: fleetCategory},
	}
}

func natsFlag(usage string) cli.Flag {
	return &cli.StringFlag{Name: "nats", Usage: "`URL` " + usage + "; one with rights in it belongs into " + fleet.URLVariable, EnvVars: []string{fleet.URLVariable}, Category: fleetCategory}
}

// leading is a fleet that is led, as people see it, or a machine that works alone, without a Coordinator.
type leading struct {
	*fleet.Coordinator
	own   batch.Own                 // is told what this machine does
	alone func(finished bool) error // ends what is told
	board *terminal.Board
	stage atomic.Value // a string
}

// leadFleet leads a fleet for what is done in a directory, if that is asked for.
func leadFleet(c *cli.Context, dir string, x batch.Context, parallel int, models ...*llama.Model) (l *leading, err error) {
	machine := inspect.ThisMachine(inspect.Version()).Card()
	if !c.Bool("fleet") {
		if c.IsSet("listen") || c.IsSet("nats") && c.String("nats") != os.Getenv(fleet.URLVariable) || c.IsSet("store") || c.IsSet("heartbeat") {
			return nil, usagef(c, "--listen, --nats, --store and --heartbeat are a fleet's (give --fleet too)")
		}
		l = &leading{}
		l.own, l.alone, err = fleet.Alone(dir, machine, models...)
		return l, err
	}
	switch store, beat := c.Float64("store"), c.Duration("heartbeat"); {
	case c.IsSet("store") && !(store >= 0.01 && store <= 1<<20):
		return nil, usagef(c, "--store %g: give a number of GiB, 0.01 at least", store)
	case c.String("nats") != "" && (c.IsSet("store") || c.IsSet("listen")):
		return nil, usagef(c, "--listen and --store are of a server of one's own, and --nats or %s in the environment names another: leave one out", fleet.URLVariable)
	case beat < time.Second:
		return nil, usagef(c, "--heartbeat %v: give a second at least, which is how often workers say that they are there", beat)
	}
	l = &leading{board: terminal.NewBoard(c.App.ErrWriter)}
	l.Coordinator, err = fleet.Lead(c.Context, fleet.Options{
		Dir: dir, Listen: c.String("listen"), URL: c.String("nats"), Heartbeat: c.Duration("heartbeat"), Store: int64(c.Float64("store") * (1 << 30)), Own: machine, Context: x, Parallel: parallel, Say: l.say, Notify: l.notify,
	}, models...)
	if err != nil {
		return nil, err
	}
	l.own = l.Own()
	line := "ivo worker --nats " + l.Address()
	if l.Open() {
		line = "the line that ivo fleet invite " + dir + " prints"
	}
	l.say("workers join with: " + line)
	return l, nil
}

func (l *leading) say(text string) { l.board.Say("(" + text + ")") }

// show says at which stage the run is.
func (l *leading) show(stage string) {
	if l.stage.Swap(stage) != stage {
		l.board.Say(stage)
	}
}

// notify shows how the workers are.
func (l *leading) notify(s fleet.Status) {
	if stage, _ := l.stage.Load().(string); s.Total > 0 || s.Scoring > 0 {
		l.board.Show(report.FleetLines(&s, stage))
	}
}

// end ends the fleet, for good where nothing went wrong.
func (l *leading) end(c *cli.Context, err error) error {
	if l.Coordinator == nil {
		return errors.Join(err, l.alone(err == nil))
	}
	defer l.board.Close()
	if err != nil {
		return errors.Join(err, l.Close())
	}
	if l.Status().Mixed {
		l.board.Say(report.MixedFleet)
	}
	return l.Finish(context.WithoutCancel(c.Context))
}

func workerCommand() *cli.Command {
	return &cli.Command{
		Name: "worker", Usage: "draw and score shards for ivo iterate --fleet or ivo eval --fleet, on this machine or another",
		Description: "Takes shards, decodes them and hands in what it has drawn, until the run is over; Ctrl-C\n" +
			"gives back what it has in hand. Without a model it is sent the run's, once.\n" + fleet.InviteVariable + " has the invitation to a run on another machine: ivo fleet invite prints the whole line.\n\nExamples:\n\n" +
			"  ivo worker --nats nats://127.0.0.1:4822 -m model.gguf\n  ivo worker --nats nats://127.0.0.1:4822 --models ~/models",
		Flags: slices.Concat([]cli.Flag{
			natsFlag("of the run's server"),
			&cli.StringSliceFlag{Name: "models", Usage: "`FOLDER` in which the run's model is looked for; may be given several times", Category: fleetCategory},
			&cli.BoolFlag{Name: "stay", Usage: "wait for the next run when one is over", Category: fleetCategory},
		}, loadFlags(), adapterFlags(), []cli.Flag{threadsFlag()}),
		Action: work,
	}
}

func work(c *cli.Context) error {
	if c.String("nats") == "" {
		return usagef(c, "--nats is missing (ivo iterate --fleet says what it is)")
	}
	with, err := readAdapters(c)
	if err != nil {
		return err
	}
	board := terminal.NewBoard(c.App.ErrWriter)
	defer board.Close()
	o := fleet.WorkerOptions{
		URL: c.String("nats"), Models: c.StringSlice("models"), Threads: max(0, c.Int("threads")), Stay: c.Bool("stay"),
		Card: inspect.ThisMachine(inspect.Version()).Card(), Say: board.Say,
		Notify: func(w fleet.Working) { board.Show([]string{report.WorkerLine(&w)}) },
		Load:   func(path string) (*llama.Model, error) { return loadFile(c, path) }, With: with,
	}
	if o.Invite, err = fleet.OwnInvite(); err != nil {
		return err
	}
	if o.Cache, err = cachedir.Path("fleet"); err != nil {
		return err
	}
	if c.IsSet("model") || c.IsSet("hf-repo") || c.IsSet("model-url") {
		if o.Model, err = load(c); err != nil {
			return err
		}
		defer o.Model.Close()
	}
	return fleet.Work(c.Context, o)
}

func fleetCommand() *cli.Command {
	return &cli.Command{
		Name: "fleet", Usage: "look after the workers of a run", Action: noCommand,
		Subcommands: []*cli.Command{
			{
				Name: "status", Usage: "show how the workers of a run are, or who drew one that is finished", ArgsUsage: "[RUN]",
				Description: "Examples:\n\n  ivo fleet status --nats nats://127.0.0.1:4822\n  ivo fleet status runs/first", Flags: []cli.Flag{natsFlag("of the run's server")},
				Action: fleetStatus,
			},
			{
				Name: "invite", Usage: "print the line that starts a worker on another machine", ArgsUsage: "RUN",
				Description: "Whoever has the line can work for the run: hand it over as you would a password.\n\nExamples:\n\n  ivo fleet invite runs/first\n  ivo fleet invite --host desktop.local runs/first",
				Flags:       []cli.Flag{&cli.StringFlag{Name: "host", Usage: "`NAME` by which the worker's machine knows this one", Category: fleetCategory}},
				Action: func(c *cli.Context) error {
					if !c.Args().Present() {
						return usagef(c, "no run (name its directory)")
					}
					url, invitation, err := fleet.InviteTo(c.Args().First(), c.String("host"))
					if err != nil {
						return err
					}
					if invitation != "" {
						invitation = fleet.InviteVariable + "=" + invitation + " "
					} else {
						fmt.Fprintln(c.App.ErrWriter, "(on the run's own machine alone: others need a run with --listen, such as --listen 0.0.0.0:4822)")
					}
					_, err = fmt.Fprintf(c.App.Writer, "%sivo worker --nats %s\n", invitation, url)
					return err
				},
			},
		},
	}
}

func fleetStatus(c *cli.Context) error {
	if dir := c.Args().First(); dir != "" {
		r, err := fleet.ReadRecord(dir)
		if err != nil {
			return fmt.Errorf("who drew %s is not known: %w (give the directory of a run that a fleet has drawn)", dir, err)
		}
		return report.FleetTable(c.App.Writer, r.Workers, r.Mixed)
	}
	if c.String("nats") == "" {
		return usagef(c, "neither a run nor --nats (name one)")
	}
	invite, err := fleet.OwnInvite()
	if err != nil {
		return err
	}
	s, err := fleet.ReadStatus(c.Context, c.String("nats"), invite)
	if err != nil {
		return err
	}
	for _, line := range append(report.FleetLines(s, "run "+s.Run), s.Aside...) {
		fmt.Fprintln(c.App.Writer, terminal.Visible(line))
	}
	return nil
}
