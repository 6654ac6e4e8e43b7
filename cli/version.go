package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/llama"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "say which ivo and which llama.cpp this is",
		Description: "Example:\n\n  ivo version",
		Action: func(c *cli.Context) error {
			fmt.Fprintf(c.App.Writer, "ivo %s, %s %s/%s\n%s\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, llama.Build())
			return nil
		},
	}
}

// version is the module's version, or the commit that was built.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(unknown version)"
	}
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = " " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	return info.Main.Version + commit + changed
}
