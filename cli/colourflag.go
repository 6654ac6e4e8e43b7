package cli

import (
	"os"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/orchestrator/report"
)

func colourFlag(category string) cli.Flag {
	return &cli.StringFlag{Name: "color", Usage: "colours: on, off or `auto`, which heeds NO_COLOR", Value: "auto", Category: category}
}

// depthOf is the depth that --color asks for, or that the output has.
func depthOf(c *cli.Context) (report.Depth, error) {
	mode, err := choice(c, "color", map[string]string{"on": "on", "off": "off", "auto": "auto"})
	if err != nil {
		return report.NoColours, err
	}
	plain := noColours() || !terminal.Is(c.App.Writer)
	switch colorterm := os.Getenv("COLORTERM"); {
	case mode == "off" || mode == "auto" && plain:
		return report.NoColours, nil
	case colorterm == "truecolor" || colorterm == "24bit":
		return report.TrueColours, nil
	}
	return report.Colours256, nil
}

// noColours says whether the environment asks for none.
func noColours() bool { return os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" }
