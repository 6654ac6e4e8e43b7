package cli

import (
	"fmt"
	"runtime"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
)

func versionCommand() *cli.Command {
	return &cli.Command{Name: "version", Usage: "say which ivo and which llama.cpp this is", Description: "Example:\n\n  ivo version", Action: version}
}

func version(c *cli.Context) error {
	fmt.Fprintf(c.App.Writer, "ivo %s, %s %s/%s\n%s\n", inspect.Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, llama.Build())
	return nil
}
