package cli

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/chat"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/report"
	"github.com/ivo-decoding/ivo/orchestrator/value"
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
			"  ivo chat -m base.gguf --chat-template chatml -p 'Who are you?' -st\n" +
			"  ivo chat --server http://127.0.0.1:8080 --server-model smollm2@beam-3x8\n\n" +
			"Commands:\n\n" + chatHelp() + "\n" + streaming,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT` of the first message", Category: conversation},
			&cli.StringFlag{Name: "server", Usage: "talk with the model at `URL`, one of ivo serve or of any other chat completions, instead; its key is taken from IVO_API_KEY", Category: conversation},
			&cli.StringFlag{Name: "server-model", Usage: "`NAME` of its model, as in smollm2@beam-3x8", Category: conversation},
			&cli.BoolFlag{Name: "single-turn", Aliases: []string{"st"}, Usage: "end after the first answer", Category: conversation},
			overwriteFlag("let /save replace files", conversation),
			colourFlag(conversation),
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of an answer; 512, or half of a smaller context, without it", Category: samplingCategory},
			&cli.Int64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of the random numbers; -1 for a new one", Value: -1, Category: samplingCategory},
		}, escapeFlags("-p, -sys and -r", conversation), templateFlags(), methodFlags(), valueFlags(), samplingFlags(llamaSampling), constraintFlags(), thoughtFlags(), loadFlags(), adapterFlags(), contextFlags()),
		Action: runChat,
	}
}

// conversation is a chat and who is at it.
type conversation struct {
	*chat.Chat
	c       *cli.Context
	o       chat.Options
	model   *llama.Model
	value   *value.Function
	prompts prompt.Options
	colours report.Depth
	text    *terminal.Stream // of the answer under way

	saved    string // the file that /save wrote last
	values   bool   // the value of each answer is printed
	terminal bool   // stdin is one
}

func runChat(c *cli.Context) error {
	if c.IsSet("server") {
		return chatRemote(c)
	}
	t, err := readChat(c)
	if err != nil {
		return err
	}
	if err := t.open(); err != nil {
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
	t := &conversation{c: c}
	t.o = chat.Options{Seed: seed(c), Forgot: func(turns, of int) {
		t.note(fmt.Sprintf("the context is full: the oldest of the conversation is forgotten, %d of %d messages", turns, of))
	}}
	in, ok := c.App.Reader.(*os.File)
	t.terminal = ok && terminal.Is(in)
	var err error
	if t.prompts, err = promptOptions(c); err != nil {
		return nil, err
	}
	// The system prompt can change, so it is the chat's.
	t.o.System, t.prompts.System = t.prompts.System, ""
	if t.o.Strategy, err = readStrategy(c); err != nil {
		return nil, err
	}
	if err := t.o.Strategy.Check(chat.Sequences); err != nil {
		return nil, usagef(c, "%v", err)
	}
	if t.o.Request.Sampling, err = sampling(c); err != nil {
		return nil, err
	}
	if t.o.Context, err = compute(c); err != nil {
		return nil, err
	}
	if t.colours, err = depthOf(c); err != nil {
		return nil, err
	}
	if t.o.Request.Thoughts, err = thoughts(c); err != nil {
		return nil, err
	}
	t.o.Thinking = func(text []byte) { t.text.Aside(text, t.colours == report.NoColours) }
	if t.o.Request.Stop, err = stops(c); err != nil {
		return nil, err
	}
	if t.o.Request.MaxTokens = c.Int("predict"); c.IsSet("predict") && t.o.Request.MaxTokens < 1 {
		return nil, usagef(c, "-n %d: give a positive number of tokens", t.o.Request.MaxTokens)
	}
	return t, nil
}

// open opens the value function and the model, and begins the chat.
func (t *conversation) open() (err error) {
	if t.value, err = openValue(t.c); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	if err := t.o.Strategy.CheckGuidance(t.o.Request.Sampling, t.value.Source, false); err != nil {
		return usagef(t.c, "%v", err)
	}
	t.o.Request.Value, t.o.Request.EachValue, t.o.Layers = t.value.Source, t.value.Source != nil, t.value.Layers
	t.o.PromptStates = t.value.Source != nil && t.value.NeedsPrompt()
	if t.model, err = load(t.c); err != nil {
		return err
	}
	if err := checkPolicy(t.c, t.value, t.model); err != nil {
		return err
	}
	if t.o.Size, err = contextSize(t.c, t.model); err != nil {
		return err
	}
	if t.o.Encoder, err = prompt.NewEncoder(t.model, t.prompts); err != nil {
		return err
	}
	if t.o.Encoder.Plain() {
		t.note("the model has no chat template: it is shown the conversation as plain text (give one with --chat-template, such as chatml, or with --chat-template-file)")
	}
	t.Chat, err = chat.New(t.model, t.o)
	return err
}

// close frees what open has opened so far.
func (t *conversation) close() {
	if t.Chat != nil {
		t.Chat.Close()
	}
	if t.model != nil {
		t.model.Close()
	}
	t.value.Close()
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
	if err == nil || errors.Is(err, errExit) || !t.terminal || t.c.Context.Err() != nil || !t.Alive() {
		return err
	}
	fmt.Fprintln(t.c.App.ErrWriter, "ivo:", terminal.Visible(strings.ReplaceAll(err.Error(), "\n", "; ")))
	return nil
}

// note says something about the chat that is no part of it.
func (t *conversation) note(text string) { fmt.Fprintf(t.c.App.ErrWriter, "(%s)\n", text) }
