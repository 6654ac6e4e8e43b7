// Package flags is what the command line wants of urfave/cli and does not get: flags behind
// arguments, help as llama.cpp spells it, and texts that stay as they are.
package flags

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// First moves a verb's arguments behind its flags: urfave/cli takes flags that follow
// an argument for arguments.
func First(app *cli.App, args []string) []string {
	flags, commands := app.Flags, app.Commands
	out, last := slices.Clone(args[:1]), []string(nil)
	for i := 1; i < len(args); i++ {
		arg := args[i]
		name, value, dash := nameOf(arg)
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

// Pair joins the two numbers that follow some flags, START END, into the one value that urfave/cli has for a flag:
// START-END.
func Pair(args []string, flags ...string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		name, value, dash := nameOf(args[i])
		if out = append(out, args[i]); !dash || value || !slices.Contains(flags, name) || i+2 >= len(args) {
			continue
		}
		if number := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }; number(args[i+1]) && number(args[i+2]) {
			out = append(out, args[i+1]+"-"+args[i+2])
			i += 2
		}
	}
	return out
}

// nameOf is the name that a flag on the command line has, and whether its value is
// joined to it.
func nameOf(arg string) (name string, value, ok bool) {
	name = strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	if name == arg || name == "" {
		return "", false, false
	}
	name, _, value = strings.Cut(name, "=")
	return name, value, true
}

// Help is a flag's line of help, spelt as llama.cpp spells it: short names first,
// and one dash before -ngl.
func Help(f cli.Flag) string {
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

// Texts are the values of a flag that may be given several times, each as it stands:
// urfave/cli's own slices trim their values and drop those that are empty then.
type Texts []string

// serialized is what urfave/cli copies from one name of a flag to its others, which share
// the value. No argument of a program holds a zero byte.
const serialized = "\x00"

func (t *Texts) Set(value string) error {
	if value != serialized {
		*t = append(*t, value)
	}
	return nil
}

func (t *Texts) Serialize() string { return serialized }

// String is empty without values, for then it is shown as the default.
func (t *Texts) String() string {
	if len(*t) == 0 {
		return ""
	}
	return fmt.Sprintf("%q", []string(*t))
}
