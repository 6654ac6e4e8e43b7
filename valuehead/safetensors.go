package valuehead

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// SaveSafetensors writes the head's scales, atoms and parameters as a safetensors file, for
// PyTorch and others: the length of a JSON header as a little-endian u64, the header,
// which gives each tensor's type, shape and place, then all data, little-endian float32
// (https://github.com/huggingface/safetensors, "Format"). The header's metadata tell what
// a reader needs to compute values: the kind, the columns and the reward's scale. It is an
// export: a head is loaded from its GGUF file.
func (h *Head) SaveSafetensors(path string) error {
	type place struct {
		Type    string    `json:"dtype"`
		Shape   []int     `json:"shape"`
		Offsets [2]uint64 `json:"data_offsets"`
	}
	o, s := h.features.options, h.features.schema
	header := map[string]any{"__metadata__": map[string]string{ // the format allows strings alone
		"format":       "pt",
		"ivo.kind":     string(h.kind),
		"ivo.backbone": s.Backbone,
		"ivo.layers":   fmt.Sprint(o.Layers),
		"ivo.scalars":  fmt.Sprint(o.Scalars),
		"ivo.blocks":   fmt.Sprint(o.Blocks),
		"ivo.reward":   fmt.Sprint(h.rewardMean, h.rewardScale),
		"ivo.doc":      "rows are (x - input.mean) * input.inverse_scale; a value v is mean + scale * output, with a squash [c r] c + r tanh((v - c) / r), or with atoms the mean of the atoms under the softmax of the outputs",
	}}
	at := uint64(0)
	tensors := h.named()
	for _, t := range tensors {
		shape := []int{t.rows, t.cols}
		if t.rows == 1 {
			shape = shape[1:]
		}
		end := at + 4*uint64(len(t.data))
		header[t.name] = place{"F32", shape, [2]uint64{at, end}}
		at = end
	}
	text, err := json.Marshal(header)
	if err != nil {
		return err
	}
	for len(text)%8 != 0 { // the data begin aligned
		text = append(text, ' ')
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
		if _, err := w.Write(append(out, text...)); err != nil {
			return err
		}
		for _, t := range tensors {
			out = out[:0]
			for _, v := range t.data {
				out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
			}
			if _, err := w.Write(out); err != nil {
				return err
			}
		}
		return nil
	})
}
