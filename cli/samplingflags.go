package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

const samplingCategory = "Sampling"

// llamaSampling are llama.cpp's own defaults.
var llamaSampling = policy.Sampling{Temp: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1, RepeatLastN: policy.LookBack}

// samplingFlags are llama.cpp's sampling flags with the defaults given.
func samplingFlags(d policy.Sampling) []cli.Flag {
	float := func(name, usage string, value float64) cli.Flag {
		return &cli.Float64Flag{Name: name, Usage: usage, Value: value, Category: samplingCategory}
	}
	return []cli.Flag{
		float("temp", "temperature; 0 takes the likeliest token", d.Temp),
		&cli.IntFlag{Name: "top-k", Usage: "keep the `K` likeliest tokens; 0 keeps all", Value: d.TopK, Category: samplingCategory},
		float("top-p", "keep the likeliest tokens that make up this probability; 1 keeps all", orOne(d.TopP)),
		float("min-p", "keep tokens at least this likely relative to the likeliest; 0 keeps all", d.MinP),
		float("repeat-penalty", "penalty for tokens of the last --repeat-last-n; 1 for none", orOne(d.RepeatPenalty)),
		&cli.IntFlag{Name: "repeat-last-n", Usage: "tokens that penalties look back on; 0 for none, -1 for all", Value: llamaSampling.RepeatLastN, Category: samplingCategory},
		float("presence-penalty", "penalty for tokens that occurred; 0 for none", d.PresencePenalty),
		float("frequency-penalty", "penalty for each time a token occurred; 0 for none", d.FrequencyPenalty),
		stopFlag(),
	}
}

// orOne shows the neutral setting as the number that llama.cpp has for it.
func orOne(x float64) float64 {
	if x == 0 {
		return 1
	}
	return x
}

func sampling(c *cli.Context) (policy.Sampling, error) {
	s := policy.Sampling{
		Temp: c.Float64("temp"), TopK: c.Int("top-k"), TopP: c.Float64("top-p"), MinP: c.Float64("min-p"),
		RepeatPenalty: c.Float64("repeat-penalty"), RepeatLastN: c.Int("repeat-last-n"),
		PresencePenalty: c.Float64("presence-penalty"), FrequencyPenalty: c.Float64("frequency-penalty"),
	}
	if err := readConstraints(c, &s); err != nil {
		return s, err
	}
	if err := s.Check(); err != nil {
		return s, usagef(c, "%v", err)
	}
	return s, nil
}
