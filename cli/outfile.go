package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/terminal"
)

func overwriteFlag(usage, category string) cli.Flag {
	return &cli.BoolFlag{Name: "overwrite", Usage: usage, Category: category}
}

// writable checks that a file can be made at path, before the work whose result it takes. One that is
// there stays, unless it may be overwritten: a slip of the keyboard should not cost a model.
func writable(path string, overwrite bool) error {
	if st, err := os.Stat(path); overwrite && err == nil && st.Mode().IsRegular() {
		return nil
	}
	return vacant(path, "give another path, or --overwrite to replace it")
}

// vacant checks that nothing is at path and that a file can be made there. The hint says what to do where
// something is.
func vacant(path, hint string) error {
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
		return fmt.Errorf("%s: no directory %s (make it, or give another path)", path, filepath.Dir(path))
	}
	st, err := os.Stat(path)
	switch {
	case err == nil && !st.Mode().IsRegular():
		return fmt.Errorf("%s is no regular file (give another path)", path)
	case err == nil:
		return fmt.Errorf("%s is there already (%s)", path, hint)
	}
	return nil
}

// printJSON prints a value as one line of JSON.
func printJSON(c *cli.Context, v any) error {
	enc := json.NewEncoder(terminal.Harmless(c.App.Writer))
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
