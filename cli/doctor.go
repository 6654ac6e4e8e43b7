package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/orchestrator/inspect"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "check how well this build fits this machine, and say what to do",
		Description: "Examples:\n\n  ivo doctor\n  ivo doctor --architectures",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "architectures", Usage: "list the architectures of models that the linked llama.cpp knows"},
		},
		Action: func(c *cli.Context) error {
			if c.Bool("architectures") {
				return inspect.WriteArchitectures(c.App.Writer)
			}
			m := inspect.ThisMachine(inspect.Version())
			if err := m.Write(c.App.Writer); err != nil {
				return err
			}
			return m.Broken()
		},
	}
}
