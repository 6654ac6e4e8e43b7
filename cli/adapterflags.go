package cli

import (
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
)

// adapterFlags say by which adapters the policy is changed, with llama.cpp's spelling.
func adapterFlags() []cli.Flag {
	return []cli.Flag{
		textsFlag("lora", "apply the LoRA adapter `FILE[:SCALE]` to the model; may be given several times, or several with commas between", modelCategory),
		textsFlag("lora-scaled", "the same as --lora, `FILE[:SCALE]`", modelCategory),
		textsFlag("control-vector", "steer the model by the control vector `FILE[:SCALE]`; as --lora", modelCategory),
		textsFlag("control-vector-scaled", "the same as --control-vector, `FILE[:SCALE]`", modelCategory),
		&cli.StringFlag{Name: "control-vector-layer-range", Usage: "steer the layers from `START END` on, both included; all without it", Category: modelCategory},
	}
}

// readAdapters reads adapterFlags.
func readAdapters(c *cli.Context) (a llama.Adapters, err error) {
	if a.LoRA, err = llama.ParseAdapters(slices.Concat(textsOf(c, "lora"), textsOf(c, "lora-scaled"))); err != nil {
		return a, usagef(c, "--lora %v", err)
	}
	if a.Control, err = llama.ParseAdapters(slices.Concat(textsOf(c, "control-vector"), textsOf(c, "control-vector-scaled"))); err != nil {
		return a, usagef(c, "--control-vector %v", err)
	}
	text := c.String("control-vector-layer-range")
	switch n, err := fmt.Sscanf(text, "%d-%d", &a.From, &a.To); {
	case text == "":
		return a, nil
	case n != 2 || err != nil || a.From < 1 || a.To < a.From:
		return a, usagef(c, "--control-vector-layer-range %q (give the first and the last layer, such as 10 20)", text)
	case len(a.Control) == 0:
		return a, usagef(c, "--control-vector-layer-range without a control vector (give one with --control-vector)")
	}
	return a, nil
}
