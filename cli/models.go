package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/hub"
)

func modelsCommand() *cli.Command {
	return &cli.Command{
		Name: "models", Usage: "list the models on this machine: ivo's, llama.cpp's, Ollama's and LM Studio's",
		Description: "Each is named as it is given to other commands. Examples:\n\n" +
			"  ivo models\n" +
			"  ivo generate -m ollama:llama3.2 -p \"Once upon a time\"",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}},
		Action: listModels,
	}
}

// found is a model of the list: what its header says.
type found struct {
	Name         string `json:"name"` // the arguments that choose it
	From         string `json:"from"` // the program that keeps it
	Path         string `json:"path"`
	Bytes        int64  `json:"bytes"`
	Architecture string `json:"architecture"`
	Quantization string `json:"quantization"`
	Loads        string `json:"loads"` // "yes", or why not
}

func listModels(c *cli.Context) error {
	locals, err := hub.Models(hub.Options{})
	if err != nil {
		return err
	}
	all := []found{}
	for _, l := range locals {
		f := found{Name: arguments(l.Name), From: l.From, Path: l.Path, Bytes: l.Bytes, Loads: "yes"}
		head, err := gguf.ReadModel(l.Path)
		if err == nil {
			f.Architecture, f.Quantization = head.Str("general.architecture"), llama.FileTypeOf(head)
			err = llama.Loadable(head)
		}
		if err != nil {
			f.Loads = err.Error()
		}
		all = append(all, f)
	}
	if c.Bool("json") {
		return printJSON(c, all)
	}
	if len(all) == 0 {
		fmt.Fprintln(c.App.Writer, "there are none (-hf USER/REPO downloads one)")
		return nil
	}
	w := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "model\tsize\tarchitecture\tquantization\tloads here\tof")
	for _, f := range all {
		loads := "yes"
		if f.Loads != "yes" {
			loads = "no: ivo inspect says why"
		}
		fmt.Fprintln(w, terminal.Visible(fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", f.Name, sheet.Size(uint64(f.Bytes)), f.Architecture, f.Quantization, loads, f.From)))
	}
	return w.Flush()
}

// arguments are those that choose a model.
func arguments(s hub.Source) string {
	if s.Repo != "" {
		return "-hf " + s.Repo + " -hff " + s.File
	}
	return "-m " + s.Path
}
