package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/jsongrammar"
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
		token, bias, err := policy.ParseBias(text)
		if err != nil {
			return usagef(c, "--logit-bias %v", err)
		}
		s.Bias(token, bias)
	}
	return nil
}

// readGrammar is the grammar that the flags give, or that of their JSON schema, empty without one.
func readGrammar(c *cli.Context) (string, error) {
	var given []string
	for _, name := range []string{"grammar", "grammar-file", "json-schema", "json-schema-file"} {
		if c.IsSet(name) {
			given = append(given, name)
		}
	}
	if len(given) == 0 {
		return "", nil
	} else if len(given) > 1 {
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
	if flag == "grammar" {
		return text, nil
	}
	return jsongrammar.Of([]byte(text))
}
