package cli

import (
	"bytes"
	crand "crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/valuehead"
)

func generateCommand() *cli.Command {
	const method, prompt = "Method", "Prompt"
	return &cli.Command{
		Name: "generate", Usage: "answer a prompt, guided by a value function or not",
		Description: "Examples:\n\n" +
			"  ivo generate -m model.gguf -p 'Once upon a time' -n 100\n" +
			"  ivo generate -hf ggml-org/gemma-3-1b-it-GGUF:Q8_0 -p 'Once upon a time' -n 100\n" +
			"  ivo generate -m model.gguf -f prompt.txt --method block-beam --value-head runs/first/iter-02/head.gguf",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "prompt", Aliases: []string{"p"}, Usage: "`TEXT` to go on from; \\n, \\t, \\\\, \\' and \\\" are escapes", Category: prompt},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "read the prompt from `FILE`, as it is but for a last line break", Category: prompt, TakesFile: true},
			&cli.BoolFlag{Name: "no-escape", Usage: "take backslashes in -p and -r literally", Category: prompt},
			&cli.IntFlag{Name: "predict", Aliases: []string{"n", "n-predict"}, Usage: "most tokens of the response; -1 for all that the context holds", Value: -1, Category: samplingCategory},
			&cli.Int64Flag{Name: "seed", Aliases: []string{"s"}, Usage: "seed of the random numbers; -1 for a new one", Value: -1, Category: samplingCategory},
			&cli.StringFlag{Name: "method", Usage: "decode by `METHOD`: sample, best-of-n or block-beam", Value: string(decode.MethodSample), Category: method},
			&cli.StringFlag{Name: "value-head", Usage: "value function `FILE` that ivo iterate made", Category: method, TakesFile: true},
			&cli.IntFlag{Name: "samples", Usage: "responses that best-of-n chooses from", Value: 4, Category: method},
			&cli.IntFlag{Name: "beams", Usage: "beams of block-beam", Value: 4, Category: method},
			&cli.IntFlag{Name: "block", Usage: "tokens a block of block-beam", Value: 4, Category: method},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON record with tokens, log-probabilities and values"},
		}, samplingFlags(llamaSampling), loadFlags(), contextFlags()),
		Action: generate,
	}
}

// generation is what ivo generate was asked for.
type generation struct {
	prompt   string
	seed     uint64
	predict  int
	strategy decode.Strategy
	params   engine.Params
	request  decode.Request
	head     *valuehead.Head
	json     bool
}

// record is the output of ivo generate --json.
type record struct {
	Prompt    string        `json:"prompt"`
	Text      string        `json:"text"`
	Tokens    []int32       `json:"tokens"`
	Pieces    []string      `json:"pieces"`   // the tokens' texts
	LogProbs  []float32     `json:"logprobs"` // of the tokens at temperature 1
	Values    []float32     `json:"values,omitempty"`
	Value     *float32      `json:"value,omitempty"` // of the last state
	Finish    decode.Finish `json:"finish"`
	Method    decode.Method `json:"method"`
	Seed      uint64        `json:"seed"`
	Decoded   int           `json:"decoded"` // tokens decoded, those not taken included
	Emitted   int           `json:"emitted"` // tokens of the response
	PromptLen int           `json:"prompt_tokens"`
	Timings   timings       `json:"timings"`
}

// timings are in milliseconds.
type timings struct {
	Load            float64 `json:"load_ms"`
	Generate        float64 `json:"generate_ms"`
	InLlama         float64 `json:"in_llama_ms"` // the part of generate spent in llama.cpp
	TokensPerSecond float64 `json:"tokens_per_second"`
}

func generate(c *cli.Context) error {
	g, err := readGeneration(c)
	if err != nil {
		return err
	}
	// Before the model, which takes longer: a wrong path should not have to wait for it.
	if path := c.String("value-head"); path != "" {
		if g.head, err = valuehead.Load(path); err != nil {
			return err
		}
		g.request.Value = decode.HeadSource(g.head, valuehead.Reading{})
		g.params.Layers = g.head.Features().Schema().Layers
		g.request.EachValue = g.json
	}
	begin := time.Now()
	m, err := load(c)
	if err != nil {
		return err
	}
	defer m.Close()
	loaded := time.Since(begin)
	if err := g.fit(c, m); err != nil {
		return err
	}
	e, err := engine.New(m, g.params)
	if err != nil {
		return err
	}
	defer e.Close()

	endsLine := true
	var unwritten error
	if !g.json {
		g.request.Emit = func(text []byte) {
			if len(text) > 0 && unwritten == nil {
				_, unwritten = c.App.Writer.Write(text)
				endsLine = bytes.HasSuffix(text, []byte("\n"))
			}
		}
	}
	meter := newMeter(c.App.ErrWriter)
	if g.json || g.strategy.Method == decode.MethodBestOfN { // nothing else is seen until the end
		most := g.strategy.Sequences() * g.predict
		g.request.Progress = func(decoded int) { meter.show("decode", decoded, most, "tokens at most", "") }
	}
	var response decode.Response
	job, err := g.strategy.Job(e, g.request, func(r decode.Response) { response = r })
	if err != nil {
		return err
	}
	err = e.Run(c.Context, []engine.Job{job})
	meter.close()
	if !endsLine {
		fmt.Fprintln(c.App.Writer)
	}
	if err == nil && unwritten != nil {
		err = fmt.Errorf("write the text: %w (check where the output goes)", unwritten)
	}
	if err != nil || !g.json {
		return err
	}
	return g.print(c, m, response, e.Stats(), loaded)
}

// readGeneration reads the flags that need no model.
func readGeneration(c *cli.Context) (*generation, error) {
	g := &generation{predict: c.Int("predict"), json: c.Bool("json")}
	g.strategy = decode.Strategy{
		Method: decode.Method(c.String("method")), N: c.Int("samples"),
		Beam: decode.Beam{Beams: c.Int("beams"), Block: c.Int("block")},
	}
	switch {
	case !slices.Contains(decode.Methods, g.strategy.Method):
		return nil, usagef(c, "--method %q is not one of %v", g.strategy.Method, decode.Methods)
	case g.strategy.NeedsValue() && c.String("value-head") == "":
		return nil, usagef(c, "--method %s needs a value function (give one with --value-head, or learn one with ivo iterate)", g.strategy.Method)
	case g.strategy.N < 1 || g.strategy.Beam.Beams < 1 || g.strategy.Beam.Block < 1:
		return nil, usagef(c, "--samples, --beams and --block are 1 or more")
	case g.strategy.Sequences() > llama.MaxSequences:
		return nil, usagef(c, "%s would need %d sequences at once, llama.cpp holds %d (lower --samples or --beams; beams count squared)", g.strategy.Method, g.strategy.Sequences(), llama.MaxSequences)
	case g.predict == 0 || g.predict < -1:
		return nil, usagef(c, "-n %d: give a positive number of tokens, or -1 for all that the context holds", g.predict)
	}
	unescape := escapes.Replace
	if c.Bool("no-escape") {
		unescape = func(s string) string { return s }
	}
	var err error
	if g.prompt, err = readPrompt(c, unescape); err != nil {
		return nil, err
	}
	if g.request.Sampling, err = sampling(c); err != nil {
		return nil, err
	}
	if g.params, err = contextParams(c); err != nil {
		return nil, err
	}
	for _, stop := range c.StringSlice("reverse-prompt") {
		g.request.Stop = append(g.request.Stop, unescape(stop))
	}
	g.seed = uint64(c.Int64("seed"))
	if c.Int64("seed") < 0 {
		var b [4]byte
		crand.Read(b[:])
		g.seed = uint64(binary.LittleEndian.Uint32(b[:]))
	}
	g.request.Key = decode.Key(g.seed, 0, "", 0)
	return g, nil
}

// escapes are those that llama.cpp knows in -p.
var escapes = strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\t`, "\t", `\'`, "'", `\"`, `"`, `\\`, `\`)

func readPrompt(c *cli.Context, unescape func(string) string) (string, error) {
	switch path := c.String("file"); {
	case path != "" && c.IsSet("prompt"):
		return "", usagef(c, "both -p and -f (give one of them)")
	case path != "":
		text, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read the prompt: %w (check the path given with -f)", err)
		}
		prompt := strings.TrimSuffix(string(text), "\n")
		if prompt == "" {
			return "", fmt.Errorf("read the prompt: %s is empty (write the text to go on from into it)", path)
		}
		return prompt, nil
	case c.String("prompt") == "":
		return "", usagef(c, "no prompt (give a text with -p or a file with -f)")
	}
	return unescape(c.String("prompt")), nil
}

// fit checks the head against the model, and makes the context as large as the prompt
// and the method need.
func (g *generation) fit(c *cli.Context, m *llama.Model) error {
	if g.head != nil {
		fingerprint, err := m.Fingerprint()
		if err != nil {
			return err
		}
		if err := g.head.CheckBackbone(fingerprint); err != nil {
			return err
		}
	}
	tokens, err := m.Tokenize(g.prompt, true, true)
	if err != nil {
		return err
	}
	size, err := contextSize(c, m)
	if err != nil {
		return err
	}
	room := size - len(tokens)
	if room < 1 {
		return fmt.Errorf("the prompt has %d tokens, the context holds %d (shorten the prompt, or raise -c if the model was trained with more: %d)", len(tokens), size, m.Info().ContextTrain)
	}
	if g.predict < 0 {
		g.predict = room
	}
	if g.predict > room {
		return fmt.Errorf("the prompt has %d tokens and the response up to %d, the context holds %d (lower -n, or raise -c)", len(tokens), g.predict, size)
	}
	g.request.Prompt, g.request.MaxTokens = tokens, g.predict
	g.params.Sequences = g.strategy.Sequences()
	g.params.Ctx = g.strategy.Cells(len(tokens), g.predict)
	return nil
}

func (g *generation) print(c *cli.Context, m *llama.Model, r decode.Response, stats engine.Stats, load time.Duration) error {
	out := record{
		Prompt: g.prompt, Text: r.Text, Tokens: r.Tokens, LogProbs: r.LogProbs, Finish: r.Finish, Method: g.strategy.Method,
		Seed: g.seed, Decoded: r.Decoded, Emitted: len(r.Tokens), PromptLen: len(g.request.Prompt),
		Timings: timings{
			Load: milliseconds(load), Generate: milliseconds(stats.Total), InLlama: milliseconds(stats.InC),
			TokensPerSecond: float64(len(r.Tokens)) / stats.Total.Seconds(),
		},
	}
	if g.head != nil {
		out.Values, out.Value = r.Values, &r.Value
	}
	for _, t := range r.Tokens {
		piece, err := m.Piece(t, true)
		if err != nil {
			return err
		}
		out.Pieces = append(out.Pieces, string(piece))
	}
	return printJSON(c, out)
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// printJSON prints a value as one line of JSON.
func printJSON(c *cli.Context, v any) error {
	enc := json.NewEncoder(c.App.Writer)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
