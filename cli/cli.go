// Package cli is the command line of ivo: one file a verb. It reads flags, calls the
// packages below it, and prints: results on stdout, everything else on stderr.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/flags"
	"github.com/ivo-decoding/ivo/internal/signals"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
	"github.com/ivo-decoding/ivo/orchestrator/recipe"
)

// The exit codes of ivo, besides 0. A run that a signal stopped exits with 128 and the
// signal's number, as shells have it.
const (
	exitFailure = 1
	exitUsage   = 2
	exitSignal  = 128
)

// Main runs ivo with its arguments, the program's name first, and returns its exit code.
func Main(args []string, stdout, stderr io.Writer) int {
	ctx, done := signals.Context()
	defer done()
	app := newApp(stdout, stderr)
	err := app.RunContext(ctx, flags.First(app, flags.Pair(args, "control-vector-layer-range")))
	if err == nil {
		return 0
	}
	text := err.Error()
	if problems := (*recipe.Problems)(nil); !errors.As(err, &problems) { // which are told a line each
		text = strings.ReplaceAll(text, "\n", "; ")
	}
	var file *fs.PathError
	if errors.As(err, &file) && file.Path == os.Stdout.Name() && !strings.HasSuffix(text, ")") {
		text += " (check where the output goes)"
	}
	fmt.Fprintln(stderr, "ivo:", terminal.Visible(text)) // it may quote a file
	var stop signals.Interrupted
	var usage *usageError
	switch {
	case errors.As(err, &stop):
		return exitSignal + int(stop.Signal)
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailure
}

func newApp(stdout, stderr io.Writer) *cli.App {
	cli.FlagStringer = flags.Help
	app := &cli.App{
		Name: "ivo", Usage: "steer a GGUF language model with a value function learned from its own rollouts",
		Description: "Learn a value function, then decode with it:\n\n" +
			"  ivo iterate -m model.gguf --prompts train.jsonl --eval-prompts test.jsonl --out runs/first\n" +
			"  ivo generate -m model.gguf --value-head runs/first/iter-02/head.gguf --method block-beam -p 'Once'",
		Writer: stdout, ErrWriter: stderr,
		HideVersion:    true, // urfave/cli gives -v to the version
		ExitErrHandler: func(*cli.Context, error) {},
		Flags:          []cli.Flag{verboseFlag(), &cli.BoolFlag{Name: "version", Usage: "say which ivo and which llama.cpp this is", DisableDefaultText: true}},
		Commands:       []*cli.Command{generateCommand(), chatCommand(), serveCommand(), iterateCommand(), workerCommand(), fleetCommand(), evalCommand(), scoreCommand(), scoreTextCommand(), rewardCommand(), judgeCommand(), trainCommand(), tuneCommand(), valueCommand(), inspectCommand(), modelsCommand(), statesCommand(), rpcServerCommand(), doctorCommand(), versionCommand()},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef(c, "unknown command %q", c.Args().First())
			}
			if c.Bool("version") {
				return version(c)
			}
			return cli.ShowAppHelp(c)
		},
		OnUsageError: func(c *cli.Context, err error, _ bool) error { return usagef(c, "%v", err) },
	}
	for _, cmd := range slices.Concat(app.Commands, app.Command("states").Subcommands, app.Command("reward").Subcommands, app.Command("fleet").Subcommands) {
		cmd.OnUsageError = app.OnUsageError
		cmd.HideHelpCommand = true // "help" is an argument like any other there
		cmd.Flags = append(cmd.Flags, verboseFlag())
		cmd.Before = func(c *cli.Context) error { return setup(c, stderr) }
	}
	return app
}

func verboseFlag() cli.Flag {
	return &cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "log what happens, llama.cpp's messages included, to stderr"}
}

// setup prepares what all verbs share: the log, and arguments that are what the verb takes.
func setup(c *cli.Context, stderr io.Writer) error {
	level := slog.LevelWarn
	for _, l := range c.Lineage() {
		if l.Bool("verbose") {
			level = slog.LevelDebug
		}
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})))
	if slices.Contains([]string{"iterate", "worker", "eval", "tune"}, c.Command.Name) || c.IsSet("prompts") || c.Bool("fine-tune") { // what runs long
		inspect.ThisMachine("").WarnSlow(stderr)
	}
	takes := len(strings.Fields(c.Command.ArgsUsage))
	if strings.HasSuffix(c.Command.ArgsUsage, "...") || len(c.Command.Subcommands) > 0 {
		takes = c.Args().Len()
	}
	if c.Args().Len() > takes {
		return usagef(c, "unexpected argument %q (text with spaces needs quotes)", c.Args().Get(takes))
	}
	if c.Duration("reward-timeout") < 0 || c.Int("reward-workers") < 0 {
		return usagef(c, "--reward-timeout and --reward-workers are not negative")
	}
	return nil
}

// noCommand is what a verb does that has none but its commands.
func noCommand(c *cli.Context) error {
	if c.Args().Present() {
		return usagef(c, "unknown command %q", c.Args().First())
	}
	return cli.ShowSubcommandHelp(c)
}

// again is the error of work that goes on where it was stopped: it says so where it was.
func again(c *cli.Context, err error) error {
	if c.Context.Err() != nil {
		return fmt.Errorf("%w (run the same command again to continue)", context.Cause(c.Context))
	}
	return err
}

// usageError is a command line that cannot be carried out as it stands.
type usageError struct{ command, msg string }

func (e *usageError) Error() string { return e.msg + " (see " + e.command + " --help)" }

func usagef(c *cli.Context, format string, args ...any) error {
	command := "ivo"
	if c.Command != nil && c.Command.HelpName != "" {
		command = c.Command.HelpName
	}
	return &usageError{command, fmt.Sprintf(format, args...)}
}
