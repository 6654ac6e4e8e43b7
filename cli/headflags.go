package cli

import (
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/loop"
	"github.com/ivo-decoding/ivo/valuehead"
)

// headFlags say what shape a value function has.
func headFlags(d learn.Head, category, layers string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "layers", Usage: "`LAYERS` whose states the value function reads, such as 8,16", DefaultText: layers, Category: category},
		&cli.StringFlag{Name: "head", Usage: "`KIND` of value function: auto, the best of several by cross-validation; additive, a sum over tokens; ridge, linear in running sums, in closed form; recall, which looks back at the prompt; mlp or linear", Value: d.Kind, Category: category},
		&cli.IntFlag{Name: "hidden", Usage: "hidden units; 0 for the kind's own number", Value: d.Hidden, Category: category},
		&cli.StringFlag{Name: "match", Usage: "what a recall head searches the prompt for at first: `HOW` tokens, where responses copy words as they stand, or states, where they also inflect, capitalise or paraphrase them", Value: d.Match, Category: category},
		&cli.IntFlag{Name: "atoms", Usage: "returns between which the value function spreads its belief; 0 for the mean alone", Value: d.Atoms, Category: category},
	}
}

// readHead reads headFlags, but for the layers, and how long to train.
func readHead(c *cli.Context) (h learn.Head, err error) {
	h = learn.Head{Hidden: c.Int("hidden"), Atoms: c.Int("atoms"), Epochs: c.Int("epochs"), Rate: c.Float64("lr")}
	if h.Hidden < 0 || h.Atoms < 0 || h.Atoms == 1 || h.Epochs < 1 || !(h.Rate > 0) {
		return h, usagef(c, "--epochs and --lr are positive, --hidden and --atoms are not negative, and one atom is too few")
	}
	kind, err := choice(c, "head", map[string]valuehead.Kind{"auto": learn.Auto, "additive": valuehead.Additive, "ridge": learn.Ridge, "recall": valuehead.Recall, "mlp": valuehead.MLP, "linear": valuehead.Linear})
	if err != nil {
		return h, err
	}
	match, err := choice(c, "match", map[string]valuehead.Match{"tokens": valuehead.MatchTokens, "states": valuehead.MatchStates})
	if err == nil && match == valuehead.MatchStates && kind != valuehead.Recall && kind != learn.Auto {
		err = usagef(c, "--match states with --head %s (only recall heads look back at the prompt)", kind)
	}
	h.Kind, h.Match = string(kind), string(match)
	return h, err
}

// numbers reads --layers.
func numbers(c *cli.Context) (out []int, err error) {
	text := c.String("layers")
	for _, s := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || slices.Contains(out, n) {
			return nil, usagef(c, "--layers %q: give different numbers with commas between, such as 8,16", text)
		}
		out = append(out, n)
	}
	return out, nil
}

// layers reads --layers, or takes those that suit the model.
func layers(c *cli.Context, m *llama.Model) ([]int, error) {
	out, err := numbers(c)
	last := m.Info().Layers
	switch {
	case err != nil:
		return nil, err
	case out == nil:
		return loop.Defaults(last).Layers, nil
	case slices.Min(out) < 0 || slices.Max(out) > last:
		return nil, usagef(c, "--layers %q: give numbers from 0 to %d, the last meaning the state after the final norm, such as %d,%d", c.String("layers"), last, last/2, last)
	}
	return out, nil
}
