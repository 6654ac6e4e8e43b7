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
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
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
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	ignoreSignals()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	parts := &interrupts{}
	go func() {
		for {
			select {
			case s := <-signals:
				if parts.take(s) {
					continue
				}
				signal.Stop(signals) // a second signal ends the program at once
				cancel(interrupted{s.(syscall.Signal)})
			case <-ctx.Done():
			}
			return
		}
	}()

	app := newApp(stdout, stderr)
	err := app.RunContext(context.WithValue(ctx, interruptsKey{}, parts), flagsFirst(app, args))
	if err == nil {
		return 0
	}
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	var file *fs.PathError
	if errors.As(err, &file) && file.Path == os.Stdout.Name() && !strings.HasSuffix(text, ")") {
		text += " (check where the output goes)"
	}
	fmt.Fprintln(stderr, "ivo:", terminal.Visible(text)) // it may quote a file
	var stop interrupted
	var usage *usageError
	switch {
	case errors.As(err, &stop):
		return exitSignal + int(stop.signal)
	case errors.As(err, &usage):
		return exitUsage
	}
	return exitFailure
}

func newApp(stdout, stderr io.Writer) *cli.App {
	cli.FlagStringer = flagHelp
	app := &cli.App{
		Name:  "ivo",
		Usage: "steer a GGUF language model with a value function learned from its own rollouts",
		Description: "Learn a value function, then decode with it:\n\n" +
			"  ivo iterate -m model.gguf --prompts train.jsonl --eval-prompts test.jsonl --out runs/first\n" +
			"  ivo generate -m model.gguf --value-head runs/first/iter-02/head.gguf --method block-beam -p 'Once'",
		Writer: stdout, ErrWriter: stderr,
		HideVersion:    true, // urfave/cli gives -v to the version
		ExitErrHandler: func(*cli.Context, error) {},
		Flags:          []cli.Flag{verboseFlag()},
		Commands:       []*cli.Command{generateCommand(), chatCommand(), iterateCommand(), scoreCommand(), rewardCommand(), trainCommand(), valueCommand(), inspectCommand(), statesCommand(), doctorCommand(), versionCommand()},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef(c, "unknown command %q", c.Args().First())
			}
			return cli.ShowAppHelp(c)
		},
		OnUsageError: func(c *cli.Context, err error, _ bool) error { return usagef(c, "%v", err) },
	}
	for _, cmd := range slices.Concat(app.Commands, app.Command("states").Subcommands, app.Command("reward").Subcommands) {
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
	takes := len(strings.Fields(c.Command.ArgsUsage))
	if strings.HasSuffix(c.Command.ArgsUsage, "...") || len(c.Command.Subcommands) > 0 {
		takes = c.Args().Len()
	}
	if c.Args().Len() > takes {
		return usagef(c, "unexpected argument %q (text with spaces needs quotes)", c.Args().Get(takes))
	}
	return nil
}

// flagsFirst moves a verb's arguments behind its flags: urfave/cli takes flags that follow
// an argument for arguments.
func flagsFirst(app *cli.App, args []string) []string {
	flags, commands := app.Flags, app.Commands
	out, last := slices.Clone(args[:1]), []string(nil)
	for i := 1; i < len(args); i++ {
		arg := args[i]
		name, value, dash := flagName(arg)
		at := slices.IndexFunc(commands, func(c *cli.Command) bool { return c.HasName(arg) })
		switch {
		case arg == "--":
			return slices.Concat(out, []string{"--"}, last, args[i+1:])
		case dash:
			out = append(out, arg)
			f := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
			if f >= 0 && flags[f].(cli.DocGenerationFlag).TakesValue() && !value && i+1 < len(args) {
				i++
				out = append(out, args[i])
			}
		case at >= 0:
			out = append(out, arg)
			flags, commands = commands[at].Flags, commands[at].Subcommands
		case len(commands) > 0: // no verb
			return args
		default:
			last = append(last, arg)
		}
	}
	return append(out, last...)
}

// flagName is the name that a flag on the command line has, and whether its value is
// joined to it.
func flagName(arg string) (name string, value, ok bool) {
	name = strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	if name == arg || name == "" {
		return "", false, false
	}
	name, _, value = strings.Cut(name, "=")
	return name, value, true
}

// flagHelp is a flag's line of help, spelt as llama.cpp spells it: short names first,
// and one dash before -ngl.
func flagHelp(f cli.Flag) string {
	names := slices.Clone(f.Names())
	long := names[0]
	slices.SortStableFunc(names, func(a, b string) int { return len(a) - len(b) })
	for i, name := range names {
		names[i] = "--" + name
		if len(name) <= 3 && name != long {
			names[i] = "-" + name
		}
	}
	doc := f.(cli.DocGenerationFlag)
	// The value is what the usage names in backquotes.
	before, rest, quoted := strings.Cut(doc.GetUsage(), "`")
	value, after, _ := strings.Cut(rest, "`")
	left := strings.Join(names, ", ")
	switch {
	case quoted:
		left += " " + value
	case doc.TakesValue():
		left += " N"
	}
	right := before + value + after
	if d := doc.GetDefaultText(); doc.TakesValue() && d != "" {
		right += " (default: " + d + ")"
	}
	return left + "\t" + right
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

// interrupted is why a context ended when a signal ended it.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return "stopped by signal: " + i.signal.String() }
