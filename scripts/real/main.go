// Command real takes the method through a real model, SmolLM2-135M-Instruct, with two rewards:
// the sentiment of film reviews, and instructions whose properties a program verifies. It
// collects rollouts, learns value functions, chooses the settings of every method on some
// prompts and compares the methods on others. What is finished is a file, so a run that was
// stopped goes on from what is there. Run it with make real.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/orchestrator/inspect"
)

func main() {
	slog.SetLogLoggerLevel(slog.LevelWarn)
	name := flag.String("effort", "default", "quick, default, learning or full")
	model := flag.String("model", "", "GGUF of the policy; without it SmolLM2-135M-Instruct, as make model fetches it")
	out := flag.String("out", "runs/real", "folder of the runs, the answers and the pages")
	doc := flag.String("report", "", "file of the report; docs/real.md by default, but of a quick run OUT/quick.md")
	flag.Parse()
	inspect.ThisMachine("").WarnSlow(os.Stderr)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := real(ctx, *name, *model, *out, *doc); err != nil {
		if ctx.Err() != nil {
			err = errors.New("stopped (the same command goes on from what is finished)")
		}
		fmt.Fprintln(os.Stderr, "real:", err)
		os.Exit(1)
	}
}

func real(ctx context.Context, name, model, out, doc string) (err error) {
	e, ok := efforts[name]
	if !ok {
		return fmt.Errorf("there is no effort %q (choose quick, default, learning or full)", name)
	}
	if doc == "" {
		if doc = "docs/real.md"; name == "quick" {
			doc = filepath.Join(out, "quick.md")
		}
	}
	if model == "" {
		if model, err = fetch(ctx); err != nil {
			return err
		}
	}
	meter := terminal.NewMeter(os.Stderr)
	defer meter.Close()
	r := recipe{model: model, out: out, doc: doc, effort: e, tasks: tasks(), show: meter.Show}
	if err := r.run(ctx); err != nil {
		return err
	}
	meter.Close()
	fmt.Println("report:", doc)
	return nil
}

// fetch is where SmolLM2 lies, which is fetched if it is not there.
func fetch(ctx context.Context) (string, error) {
	path, err := testmodel.Path()
	if err != nil {
		return "", err
	}
	if st, err := os.Stat(path); err == nil && st.Size() == testmodel.Size {
		return path, nil
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "run", "./scripts/model")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("the model cannot be fetched: %w (see above; or let ivo fetch a quantization of SmolLM2-135M-Instruct by -hf, and give its file with -model)", err)
	}
	return path, nil
}
