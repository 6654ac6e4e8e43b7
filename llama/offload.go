package llama

import (
	"fmt"
	"slices"
	"strings"
)

// offload says what besides the CPU takes part where a model is loaded so: how many of its layers lie on which devices, and how they
// are spread. A device on which none lies computes large batches all the same, and one that is left out is named because models of
// rewards may use it.
func (p *ModelParams) offload(devices []Device) string {
	var on, without, with []string
	for _, d := range devices {
		name := fmt.Sprintf("%s (%s)", d.Description, d.Name)
		switch {
		case d.Type == DeviceCPU:
		case d.Type == DeviceAccelerator:
			with = append(with, name)
		case p.Devices != nil && !slices.Contains(p.Devices, d.Name):
			without = append(without, name)
		default:
			on = append(on, name)
		}
	}
	var parts []string
	if len(on) > 0 {
		parts = append(parts, p.layers()+" on "+strings.Join(on, ", ")+p.spread(len(on)))
	}
	if len(without) > 0 {
		parts = append(parts, "without "+strings.Join(without, ", "))
	}
	if len(with) > 0 {
		parts = append(parts, "with "+strings.Join(with, ", "))
	}
	return strings.Join(parts, "; ")
}

func (p *ModelParams) layers() string {
	if p.GPULayers < 0 {
		return "all layers"
	}
	return fmt.Sprintf("%d layers", p.GPULayers)
}

// spread says how layers are spread over so many devices.
func (p *ModelParams) spread(devices int) (text string) {
	if devices < 2 {
		return ""
	}
	switch p.Split {
	case SplitRow:
		text = ", by rows"
	case SplitNone:
		text = fmt.Sprintf(", on number %d alone", p.MainGPU)
	}
	if len(p.TensorSplit) > 0 {
		text += fmt.Sprintf(", in shares of %v", p.TensorSplit)
	}
	return text
}
