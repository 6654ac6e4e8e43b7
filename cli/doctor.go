package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/orchestrator/inspect"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name: "doctor", Usage: "check how well this build fits this machine, and say what to do",
		Description: "Example:\n\n  ivo doctor",
		Action: func(c *cli.Context) error {
			m := inspect.ThisMachine(inspect.Version())
			if err := m.Write(c.App.Writer); err != nil {
				return err
			}
			return m.Broken()
		},
	}
}
