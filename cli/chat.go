package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

func chatCommand() *cli.Command {
	const conversation = "Conversation"
	return &cli.Command{
		Name: "chat", Usage: "talk with a model, guided by a value function or not",
		Description: "Each line is a message; one that ends in a backslash goes on in the next line, and what\n" +
			"is pasted is a part of one. Ctrl-C stops the answer, or drops what was typed; where there\n" +
			"is neither, twice ends the chat. Examples:\n\n" +
			"  ivo chat -m model.gguf\n" +
			"  ivo chat -m model.gguf -sys 'Be brief.' --method block-beam --value-head head.gguf\n" +
			"  ivo chat -m base.gguf --chat-template chatml -p 'Who are you?' -st\n\n" +
			"Commands:\n\n" + chatHelp() + "\n" + streaming,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT` of the first message", Category: conversation},
			&cli.StringFlag{Name: "system-prompt", Aliases: []string{"sys"}, Usage: "`TEXT` of the system prompt", Category: conversation},
			&cli.BoolFlag{Name: "single-turn", Aliases: []string{"st"}, Usage: "end after the first answer", Category: conversation},
			&cli.StringFlag{Name: "chat-template", Usage: "`TEMPLATE` in Jinja, or the name of one that llama.cpp knows, such as chatml; the model's own without it", Category: conversation},
			&cli.StringFlag{Name: "chat-template-file", Usage: "read the template from `FILE`", Category: conversation, TakesFile: true},
			overwriteFlag("let /save replace files", conversation),
			colourFlag(conversation),
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of an answer; 512, or half of a smaller context, without it", Category: samplingCategory},
			&cli.Int64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of the random numbers; -1 for a new one", Value: -1, Category: samplingCategory},
		}, escapeFlags("-p, -sys and -r", conversation), methodFlags(), valueFlags(), samplingFlags(llamaSampling), loadFlags(), contextFlags()),
		Action: chat,
	}
}

// conversation is a chat under way.
type conversation struct {
	c        *cli.Context
	model    *llama.Model
	engine   *engine.Engine // nil until the first answer, and when it was too small
	value    *valueSource
	strategy decode.Strategy
	params   engine.Params
	request  decode.Request // of every answer, but for the prompt
	seed     uint64
	answers  int // begun so far: each has random numbers of its own
	size     int // of the context: prompt and answer
	template string
	plain    bool // there is no template
	colours  report.Depth

	system    string
	turns     []turn
	saved     string        // the file that /save wrote last
	values    bool          // the value of each answer is printed
	terminal  bool          // stdin is one
	preparing chan struct{} // of prepare, while it is under way
	unprepare context.CancelFunc
}

// chatSequences are those that an answer may take: one more keeps the conversation so far.
const chatSequences = llama.MaxSequences - 1

// turn is a message and its answer.
type turn struct {
	message, answer string
	response        *decode.Response // nil of an answer that was stopped
}

func chat(c *cli.Context) error {
	t, err := readChat(c)
	if err != nil {
		return err
	}
	if t.value, err = openValue(c); err != nil {
		return err
	}
	defer t.value.Close()
	if err := checkGuidance(t.strategy, t.request.Sampling, t.value); err != nil {
		return usagef(c, "%v", err)
	}
	t.request.Value, t.request.EachValue, t.params.Layers = t.value.Source, t.value.Source != nil, t.value.Layers
	if t.model, err = load(c); err != nil {
		return err
	}
	defer t.model.Close()
	if err := t.fit(); err != nil {
		return err
	}
	defer t.close()

	if t.terminal {
		t.note("/help lists the commands, Ctrl-C stops an answer, Ctrl-D ends")
	}
	if first := c.String("prompt"); first != "" {
		if err := t.say(unescaper(c)(first)); err != nil || c.Bool("single-turn") {
			return err
		}
	}
	return t.loop()
}

// readChat reads the flags that need no model.
func readChat(c *cli.Context) (*conversation, error) {
	t := &conversation{c: c, seed: seed(c), system: unescaper(c)(c.String("system-prompt")), template: c.String("chat-template")}
	in, ok := c.App.Reader.(*os.File)
	t.terminal = ok && isTerminal(in)
	var err error
	if t.strategy, err = readStrategy(c); err != nil {
		return nil, err
	}
	if err := checkSequences(t.strategy, chatSequences); err != nil {
		return nil, usagef(c, "%v", err)
	}
	if t.request.Sampling, err = sampling(c); err != nil {
		return nil, err
	}
	if t.params, err = contextParams(c); err != nil {
		return nil, err
	}
	if t.colours, err = depthOf(c); err != nil {
		return nil, err
	}
	if t.request.Stop, err = stops(c); err != nil {
		return nil, err
	}
	t.request.MaxTokens = c.Int("predict")
	path := c.String("chat-template-file")
	switch {
	case c.IsSet("predict") && t.request.MaxTokens < 1:
		return nil, usagef(c, "-n %d: give a positive number of tokens", t.request.MaxTokens)
	case path != "" && t.template != "":
		return nil, usagef(c, "both --chat-template and --chat-template-file (give one of them)")
	case path != "":
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the chat template: %w (check the path)", err)
		}
		if t.template = string(text); strings.TrimSpace(t.template) == "" {
			return nil, fmt.Errorf("read the chat template: %s is empty (write a template in Jinja into it, or give the name of one with --chat-template)", path)
		}
	}
	return t, nil
}

// fit checks what needs the model before anything is said.
func (t *conversation) fit() error {
	g := generation{value: t.value}
	if err := g.value.checkHead(t.model); err != nil {
		return err
	}
	var err error
	if t.size, err = contextSize(t.c, t.model); err != nil {
		return err
	}
	if t.request.MaxTokens == 0 {
		t.request.MaxTokens = min(512, t.size/2)
	}
	if t.request.MaxTokens >= t.size {
		return fmt.Errorf("answers of up to %d tokens leave no room in a context of %d (lower -n, or raise -c)", t.request.MaxTokens, t.size)
	}
	if t.template == "" && t.model.ChatTemplate() == "" {
		t.plain = true
		t.request.Stop = append(t.request.Stop, "\n"+plainUser)
		t.note("the model has no chat template: it is shown the conversation as plain text (give one with --chat-template, such as chatml, or with --chat-template-file)")
	}
	prompt, err := t.prompt("x")
	if err != nil {
		return err
	}
	if room := t.size - t.request.MaxTokens; len(prompt) > room {
		return fmt.Errorf("the shortest conversation takes %d tokens, and answers of up to %d leave %d of the context (lower -n, raise -c, or shorten the system prompt)", len(prompt), t.request.MaxTokens, room)
	}
	return t.open()
}

// open makes an engine for the strategy, unless the one that is there will do.
func (t *conversation) open() error {
	need := t.params
	need.Sequences = t.strategy.Sequences() + 1
	need.Ctx = t.strategy.Cells(t.size-t.request.MaxTokens, t.request.MaxTokens)
	if t.engine != nil {
		if p := t.engine.Params(); p.Sequences >= need.Sequences && p.Ctx >= need.Ctx && p.Batch >= need.Sequences {
			return nil
		}
		t.close()
	}
	var err error
	t.engine, err = engine.New(t.model, need)
	return err
}

func (t *conversation) close() {
	if t.preparing != nil {
		t.unprepare()
		t.prepared(t.c.Context)
	}
	if t.engine != nil {
		t.engine.Close()
		t.engine = nil
	}
}

// take carries out a command, or answers a message. On a terminal what fails is said, and the
// chat goes on.
func (t *conversation) take(text string) error {
	var err error
	switch rest, command := strings.CutPrefix(text, "/"); {
	case strings.TrimSpace(text) == "":
		return nil
	case command && !strings.HasPrefix(rest, "/"):
		err = t.command(rest)
	case command:
		err = t.say(rest)
	default:
		err = t.say(text)
	}
	if err == nil || errors.Is(err, errExit) || !t.terminal || t.c.Context.Err() != nil || t.engine == nil {
		return err
	}
	fmt.Fprintln(t.c.App.ErrWriter, "ivo:", terminal.Visible(strings.ReplaceAll(err.Error(), "\n", "; ")))
	return nil
}

// note says something about the chat that is no part of it.
func (t *conversation) note(text string) { fmt.Fprintf(t.c.App.ErrWriter, "(%s)\n", text) }
