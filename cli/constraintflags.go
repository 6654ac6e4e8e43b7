package cli

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/jsongrammar"
	"github.com/ivo-decoding/ivo/internal/number"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// constraintFlags say what a response may be made of, with llama.cpp's spelling where it has one.
func constraintFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "grammar", Usage: "a `GRAMMAR` in llama.cpp's GBNF that the whole response keeps to, by any method", Category: samplingCategory},
		&cli.StringFlag{Name: "grammar-file", Usage: "read the grammar from `FILE`", Category: samplingCategory, TakesFile: true},
		&cli.StringFlag{Name: "json-schema", Aliases: []string{"j"}, Usage: "answer with JSON that this `SCHEMA` validates, such as {} for any; docs/formats.md says what of JSON Schema is known", Category: samplingCategory},
		&cli.StringFlag{Name: "json-schema-file", Aliases: []string{"jf"}, Usage: "read the schema from `FILE`", Category: samplingCategory, TakesFile: true},
		textsFlag("logit-bias", "change the logit of a token: `TOKEN_ID(+/-)BIAS`, such as 15043+1, or 15043-inf to rule it out; may be given several times", samplingCategory, "l"),
		&cli.BoolFlag{Name: "ignore-eos", Usage: "do not end before -n tokens, except where a grammar leaves nothing else", Category: samplingCategory},
		&cli.IntFlag{Name: "min-tokens", Usage: "do not end before `N` tokens, except where a grammar leaves nothing else", Category: samplingCategory},
	}
}

// readConstraints reads constraintFlags.
func readConstraints(c *cli.Context, s *policy.Sampling) (err error) {
	s.IgnoreEOS, s.MinTokens = c.Bool("ignore-eos"), c.Int("min-tokens")
	if s.Grammar, err = readGrammar(c); err != nil {
		return err
	}
	for _, text := range textsOf(c, "logit-bias") {
		token, bias, err := parseBias(text)
		if err != nil {
			return usagef(c, "--logit-bias %q: %v (give the id of a token and its bias, such as 15043+1 or 15043-inf)", text, err)
		}
		if s.LogitBias == nil {
			s.LogitBias = map[int32]number.Float{}
		}
		s.LogitBias[token] = number.Float(bias)
	}
	return nil
}

// parseBias reads the id of a token, a sign and a number.
func parseBias(text string) (int32, float64, error) {
	i := strings.IndexAny(text, "+-")
	if i < 1 {
		return 0, 0, fmt.Errorf("there is no + or - behind a token")
	}
	token, err := strconv.ParseInt(text[:i], 10, 32)
	if err != nil || token < 0 {
		return 0, 0, fmt.Errorf("%q is no token", text[:i])
	}
	bias, err := strconv.ParseFloat(text[i:], 64)
	if err != nil || math.IsNaN(bias) || math.IsInf(bias, 1) {
		return 0, 0, fmt.Errorf("%q is no bias", text[i:])
	}
	return int32(token), bias, nil
}

// readGrammar is the grammar that the flags give, or that of their JSON schema, empty without one.
func readGrammar(c *cli.Context) (string, error) {
	var given []string
	for _, name := range []string{"grammar", "grammar-file", "json-schema", "json-schema-file"} {
		if c.IsSet(name) {
			given = append(given, name)
		}
	}
	switch {
	case len(given) == 0:
		return "", nil
	case len(given) > 1:
		return "", usagef(c, "both --%s (give one of them)", strings.Join(given, " and --"))
	}
	flag, text := given[0], c.String(given[0])
	if name, ok := strings.CutSuffix(flag, "-file"); ok {
		flag = name
		data, err := os.ReadFile(text)
		if err != nil {
			return "", fmt.Errorf("%w (check the path of --%s)", err, given[0])
		}
		text = string(data)
	}
	if strings.TrimSpace(text) == "" {
		return "", usagef(c, "--%s is empty (a grammar begins with root ::= ..., and {} is a schema)", given[0])
	}
	if flag == "grammar" {
		return text, nil
	}
	grammar, err := jsongrammar.Of([]byte(text))
	if err != nil {
		return "", usagef(c, "%v", err)
	}
	return grammar, nil
}
