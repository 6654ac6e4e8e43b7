package cli

import (
	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama/hub"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
)

func modelsCommand() *cli.Command {
	return &cli.Command{
		Name: "models", Usage: "list the models on this machine: ivo's, llama.cpp's, Ollama's and LM Studio's",
		Description: "Each is named as it is given to other commands. Examples:\n\n" +
			"  ivo models\n" +
			"  ivo generate -m ollama:llama3.2 -p \"Once upon a time\"",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}},
		Action: func(c *cli.Context) error {
			all, err := inspect.LocalModels(arguments)
			return show(c, all, err)
		},
	}
}

// arguments are those that choose a model.
func arguments(s hub.Source) string {
	if s.Repo != "" {
		return "-hf " + s.Repo + " -hff " + s.File
	}
	return "-m " + s.Path
}
