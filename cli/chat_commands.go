package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/orchestrator/chat"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// errExit is what /exit ends the chat with.
var errExit = errors.New("exit")

// typedCommand is a command that is typed instead of a message.
type typedCommand struct {
	name, argument, help string
	run                  func(t *conversation, argument string) error
}

// typedCommands lists them.
func typedCommands() []typedCommand {
	return []typedCommand{
		{"method", "[NAME]", "answer by another method, or list them", (*conversation).setMethod},
		{"beta", "[B]", "follow the value function more or less: 0 is the base policy", (*conversation).setBeta},
		{"temp", "[T]", "the temperature", (*conversation).setTemp},
		{"value", "[on|off]", "show the last answer's value token by token, or those of answers to come", (*conversation).setValue},
		{"system", "[TEXT]", "another system prompt, or none", (*conversation).setSystem},
		{"retry", "", "answer the last message anew", (*conversation).retry},
		{"undo", "", "forget the last message and its answer", (*conversation).undo},
		{"clear", "", "forget the conversation", (*conversation).clear},
		{"save", "FILE", "write the conversation as JSON; with --overwrite before FILE, over another", (*conversation).save},
		{"help", "", "this list", func(t *conversation, _ string) error {
			_, err := fmt.Fprint(t.c.App.Writer, chatHelp()+"A message that begins with / needs a second one: //\n")
			return err
		}},
		{"exit", "", "end, as Ctrl-D does", func(*conversation, string) error { return errExit }},
	}
}

// chatHelp lists the commands, a line each.
func chatHelp() string {
	var b strings.Builder
	for _, c := range typedCommands() {
		fmt.Fprintf(&b, "  %-18s %s\n", strings.TrimSpace("/"+c.name+" "+c.argument), c.help)
	}
	return b.String()
}

// command carries out what follows the slash.
func (t *conversation) command(text string) error {
	name, argument, _ := strings.Cut(text, " ")
	argument = strings.TrimSpace(argument)
	commands := typedCommands()
	i := slices.IndexFunc(commands, func(c typedCommand) bool { return c.name == name })
	switch {
	case i < 0:
		return fmt.Errorf("there is no /%s (see /help; a message that begins with / needs a second one)", name)
	case argument != "" && commands[i].argument == "":
		return fmt.Errorf("/%s takes nothing more (see /help)", name)
	}
	return commands[i].run(t, argument)
}

// change sets up another way of answering, if it can be.
func (t *conversation) change(s decode.Strategy, sampling policy.Sampling) error {
	if err := s.Check(chat.Sequences); err != nil {
		return err
	}
	if err := s.CheckGuidance(sampling, t.value.Source, false); err != nil {
		return err
	}
	return t.Change(s, sampling)
}

func (t *conversation) setMethod(name string) error {
	s := t.Strategy()
	if name == "" {
		t.note(fmt.Sprintf("method %s; there are %s", s.Method, list(decode.Methods)))
		return nil
	}
	s.Method = decode.Method(name)
	err := t.change(s, t.Sampling())
	if err == nil {
		t.note("method " + name)
	}
	return err
}

func (t *conversation) setBeta(text string) error {
	s, beta := t.Strategy(), t.Strategy().Beta()
	if text != "" {
		var err error
		if beta, err = strconv.ParseFloat(text, 64); err != nil {
			return fmt.Errorf("beta %q is no number (give 0 or more)", text)
		}
		s.SetBeta(beta)
		if err := t.change(s, t.Sampling()); err != nil {
			return err
		}
	}
	t.note(fmt.Sprintf("beta %g, which tokenwise, greedy, block-sampling, one-pass and proposals heed", beta))
	return nil
}

func (t *conversation) setTemp(text string) error {
	sampling := t.Sampling()
	if text != "" {
		var err error
		sampling.Temp, err = strconv.ParseFloat(text, 64)
		if err != nil || sampling.Check() != nil {
			return fmt.Errorf("temperature %q (give 0 or more)", text)
		}
		if err := t.change(t.Strategy(), sampling); err != nil {
			return err
		}
	}
	t.note(fmt.Sprintf("temperature %g", sampling.Temp))
	return nil
}

func (t *conversation) setValue(text string) error {
	switch {
	case text == "":
		return t.showValues()
	case text != "on" && text != "off":
		return fmt.Errorf("/value %s (give on, off or nothing)", text)
	case text == "on" && t.value.Source == nil:
		return errNoValue
	}
	t.values = text == "on"
	t.note("values " + text)
	return nil
}

func (t *conversation) setSystem(text string) error {
	t.SetSystem(text)
	if text == "" {
		t.note("no system prompt")
	} else {
		t.note("a new system prompt, for all of the conversation")
	}
	return nil
}

func (t *conversation) undo(string) error {
	if err := t.Undo(); err != nil {
		return err
	}
	t.note(fmt.Sprintf("%d messages are left", len(t.Turns())))
	return nil
}

func (t *conversation) clear(string) error {
	t.Clear()
	t.note("no messages are left")
	return nil
}

func (t *conversation) save(path string) error {
	path, overwrite := strings.CutPrefix(path+" ", "--overwrite ")
	switch path = strings.TrimSpace(path); {
	case path == "":
		return errors.New("/save without a file (name one)")
	case path == t.saved: // what it holds is a part of this
		overwrite = true
	}
	if err := atomicfile.Writable(path, overwrite || t.c.Bool("overwrite"), overwriteHint); err != nil {
		return err
	}
	if err := t.Save(path); err != nil {
		return err
	}
	t.saved = path
	t.note("written to " + path)
	return nil
}
