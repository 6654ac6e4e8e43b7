package cli

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
)

const methodCategory = "Method"

// Defaults of the paper (arXiv 2503.02368) where it states them, but for LeastP: docs/log.md.
var defaultStrategy = decode.Strategy{
	Method: decode.MethodSample, N: 4, Beam: decode.Beam{Beams: 4, Block: 4},
	Guide: decode.Guide{TopK: 20, Beta: 2, Rest: decode.RestParent, LeastP: 0.001},
}

// methodFlags say by which method is decoded, and with which options.
func methodFlags() []cli.Flag {
	d := defaultStrategy
	number := func(name, usage string, value int) cli.Flag {
		return &cli.IntFlag{Name: name, Usage: usage, Value: value, Category: methodCategory}
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "method", Usage: "decode by `METHOD`: " + list(decode.Methods), Value: string(d.Method), Category: methodCategory},
		number("samples", "responses that best-of-n chooses from, or blocks that block-best-of-k does", d.N),
		number("beams", "beams of block-beam; each samples as many blocks", d.Beam.Beams),
		number("block", "tokens a block of block-beam, block-best-of-k and block-sampling", d.Beam.Block),
		number("candidates", "likeliest `K` tokens that tokenwise, greedy and block-sampling look at, and one-pass by a head of ivo train --one-pass", d.Guide.TopK),
		&cli.Float64Flag{Name: "least-p", Usage: "leave out those of the --candidates that have a lower probability, which saves most of the decoding; 0 for the paper's K", Value: d.Guide.LeastP, Category: methodCategory},
		&cli.Float64Flag{Name: "beta", Usage: "how far tokenwise, greedy, block-sampling and one-pass follow the value function: 0 is the base policy, `B` goes about B^2/2 nats away from it in a response", Value: d.Guide.Beta, Category: methodCategory},
		&cli.Float64Flag{Name: "beta-raw", Usage: "the same, or that of the proposal, as a factor of the reward, as papers have it", Category: methodCategory},
		&cli.StringFlag{Name: "proposal", Usage: "`POLICY` that sample, best-of-n, block-best-of-k and block-beam draw from: base; one-pass, tilted by what the value head says each token adds, among those that --top-k, --top-p and --min-p leave", Value: "base", Category: methodCategory},
		&cli.Float64Flag{Name: "proposal-beta", Usage: "how far the proposal one-pass follows the value head", Value: d.Guide.Beta, Category: methodCategory},
		&cli.StringFlag{Name: "rest", Usage: "`VALUE` of all tokens but the --candidates: parent, that of the state before them; mean, that of the candidates; none, no weight at all", Value: string(d.Guide.Rest), Category: methodCategory},
	}
}

// list names the choices in a line of help.
func list[T ~string](names []T) string {
	var s []string
	for _, n := range names {
		s = append(s, string(n))
	}
	return strings.Join(s[:len(s)-1], ", ") + " or " + s[len(s)-1]
}

// streaming is the help on when text is printed.
const streaming = "Text is printed as soon as nothing can take it back: by sample, tokenwise, greedy,\n" +
	"block-sampling and one-pass with every token, by block-best-of-k with every block, by\n" +
	"block-beam as far as all its beams agree, by best-of-n at the end."

// readStrategy reads methodFlags.
func readStrategy(c *cli.Context) (decode.Strategy, error) {
	betas := slices.DeleteFunc([]string{"beta", "beta-raw", "proposal-beta", "target-kl"}, func(name string) bool { return !c.IsSet(name) })
	if len(betas) > 1 {
		return decode.Strategy{}, usagef(c, "--%s (give one of them)", strings.Join(betas, " and --"))
	}
	beta, proposal, raw := c.Float64("beta"), c.Float64("proposal-beta"), c.IsSet("beta-raw")
	if raw {
		beta, proposal = c.Float64("beta-raw"), c.Float64("beta-raw")
	}
	s := decode.Strategy{
		RawBeta: raw, Method: decode.Method(c.String("method")), N: c.Int("samples"),
		Beam:     decode.Beam{Beams: c.Int("beams"), Block: c.Int("block")},
		Rollouts: decode.Rollouts{N: c.Int("rollouts"), Tokens: c.Int("rollout-tokens")},
		Guide:    decode.Guide{TopK: c.Int("candidates"), Beta: beta, Rest: decode.Rest(c.String("rest")), LeastP: c.Float64("least-p")},
	}
	var err error
	if s.Proposal, err = choice(c, "proposal", map[string]float64{"base": 0, "one-pass": proposal}); err != nil {
		return s, err
	}
	if err := s.Check(llama.MaxSequences); err != nil {
		return s, usagef(c, "%v", err)
	}
	return s, nil
}
