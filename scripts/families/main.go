// Command families makes a tiny random model of each of a dozen architectures, puts it through everything that the
// program does with a model, and compares each result with what decoding every sequence alone gives. Its table is
// docs/models.md, of the llama.cpp that it is linked with:
//
//	go run ./scripts/families docs/models.md
package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/testfamily"
)

func main() {
	if len(os.Args) > 2 {
		fmt.Fprintln(os.Stderr, "usage: families [DOCUMENT]")
		os.Exit(2)
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "families:", err)
		os.Exit(1)
	}
}

func run(documents []string) error {
	slog.SetLogLoggerLevel(slog.LevelError)
	var lines []line
	for _, f := range testfamily.Families {
		fmt.Fprintln(os.Stderr, f.Architecture)
		l, err := try(f)
		if err != nil {
			return err
		}
		lines = append(lines, l)
	}
	if len(documents) == 0 {
		fmt.Print(table(lines))
		return nil
	}
	doc, err := os.ReadFile(documents[0])
	if err != nil {
		return err
	}
	before, _, after, err := section(string(doc))
	if err != nil {
		return err
	}
	return atomicfile.Write(documents[0], func(w io.Writer) error {
		_, err := io.WriteString(w, before+table(lines)+after)
		return errors.Join(err)
	})
}
