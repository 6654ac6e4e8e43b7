package inspect

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/internal/terminal"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/hub"
)

// Models are those on this machine, as their headers describe them.
type Models []LocalModel

// LocalModel is one of [Models].
type LocalModel struct {
	Name         string `json:"name"` // by which it is asked for
	From         string `json:"from"` // the program that keeps it
	Path         string `json:"path"`
	Bytes        int64  `json:"bytes"`
	Architecture string `json:"architecture"`
	Quantization string `json:"quantization"`
	Loads        string `json:"loads"` // "yes", or why the linked llama.cpp cannot load it
}

// LocalModels looks for the models on this machine. name says how one is asked for.
func LocalModels(name func(hub.Source) string) (Models, error) {
	all := Models{}
	locals, err := hub.Models(hub.Options{})
	for _, l := range locals {
		m := LocalModel{Name: name(l.Name), From: l.From, Path: l.Path, Bytes: l.Bytes, Loads: "yes"}
		head, err := gguf.ReadModel(l.Path)
		if err == nil {
			m.Architecture, m.Quantization = head.Str("general.architecture"), llama.FileTypeOf(head)
			err = llama.Loadable(head)
		}
		if err != nil {
			m.Loads = err.Error()
		}
		all = append(all, m)
	}
	return all, err
}

func (all Models) Write(w io.Writer) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "there are none")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "model\tsize\tarchitecture\tquantization\tloads here\tof")
	for _, m := range all {
		loads := "yes"
		if m.Loads != "yes" {
			loads = "no: ivo inspect says why"
		}
		fmt.Fprintln(t, terminal.Visible(fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", m.Name, sheet.Size(uint64(m.Bytes)), m.Architecture, m.Quantization, loads, m.From)))
	}
	return t.Flush()
}
