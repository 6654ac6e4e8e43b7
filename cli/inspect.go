package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/valuehead"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name: "inspect", Usage: "describe a GGUF model, a value function, a run or a shard of states",
		ArgsUsage: "FILE|DIRECTORY",
		Description: "Examples:\n\n" +
			"  ivo inspect model.gguf\n" +
			"  ivo inspect -c 32768 -ctk q8_0 model.gguf\n" +
			"  ivo inspect --json runs/first\n" +
			"  ivo inspect -hf ggml-org/gemma-3-1b-it-GGUF",
		Flags:  slices.Concat(remoteFlags(), contextFlags(), []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}}),
		Action: inspect,
	}
}

// finding is what ivo inspect found out about a file or directory: its fields are the
// JSON output, write is the output for people.
type finding interface{ write(w io.Writer) error }

func inspect(c *cli.Context) error {
	path := c.Args().First()
	var err error
	switch remote := c.IsSet("hf-repo") || c.IsSet("hf-file") || c.IsSet("model-url"); {
	case remote && path != "":
		return usagef(c, "two things to inspect (name a file, or a model with -hf or -mu)")
	case remote:
		var from source
		if from, err = readSource(c); err == nil {
			path, err = from.find(c)
		}
	case path == "":
		return usagef(c, "nothing to inspect (name a file or a run directory, or a model with -hf or -mu)")
	}
	if err != nil {
		return err
	}
	f, err := examine(c, path)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, f)
	}
	return f.write(c.App.Writer)
}

// examine finds out what lies at path.
func examine(c *cli.Context, path string) (finding, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w (check the path)", err)
	}
	if st.IsDir() {
		return examineRun(path)
	}
	begin, err := firstBytes(path, 8)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	switch {
	case len(begin) == 0:
		return nil, fmt.Errorf("inspect: %s is empty (a download may have failed: get the file again)", path)
	case bytes.HasPrefix(begin, []byte("IVO")):
		return examineStates(path)
	}
	file, err := gguf.ReadModel(path)
	if err != nil {
		return nil, fmt.Errorf("inspect: %w", err)
	}
	if file.Str("general.type") == valuehead.FileType {
		return examineHead(path)
	}
	return examineModel(c, file)
}

func firstBytes(path string, n int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, n))
}

// sheet is a list of properties, printed one a line.
type sheet []property

type property struct {
	name  string
	value any
}

func (s sheet) write(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, p := range s {
		fmt.Fprintf(t, "%s\t%v\n", p.name, p.value)
	}
	return t.Flush()
}

// size is a number of bytes for people.
func size(bytes uint64) string {
	x, units := float64(bytes), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for x >= 1024 && i < len(units)-1 {
		x /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}
