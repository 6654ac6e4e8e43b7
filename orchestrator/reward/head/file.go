package head

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/valuehead"
)

// FileType is the value of general.type in a reward head's GGUF file.
const FileType = "ivo.rewardhead"

const (
	fileVersion   = 1
	recallVersion = 2 // of heads that look back by a value head
	newest        = 3 // of those that look for mentions
	keyType       = "general.type"
	prefix        = "ivo.rewardhead."
	keyChecksum   = prefix + "checksum"
	keyGate       = prefix + "gate.temperature" // absent without a gate
	// What heads read: the state after the final norm, or those of the layers that are named.
	stateNorm   = "final norm"
	stateLayers = "layers"
	keyReads    = prefix + "state.layers"

	normTensor  = "trunk.norm"
	queryTensor = "pooling.query"
	eachName    = "each"
	recallName  = "recall." // of the value head's tensors
	hintImport  = "make the head again, or copy the file anew"
)

// Save writes the head as a GGUF file of its own, whole or not at all.
func (h *Head) Save(path string) error {
	if err := h.check(); err != nil {
		return fmt.Errorf("reward head: %w (import it again)", err)
	}
	kvs := []gguf.KV{
		{Key: keyType, Value: FileType},
		{Key: "general.architecture", Value: "ivo-rewardhead"},
		{Key: prefix + "version", Value: h.version()},
		{Key: prefix + "source", Value: h.Source},
		{Key: prefix + "state", Value: stateNorm},
		{Key: prefix + "pooling", Value: string(cmp.Or(h.Reading.Pooling, Last))},
		{Key: prefix + "trunk.architecture", Value: h.Trunk.Architecture},
		{Key: prefix + "trunk.width", Value: uint32(h.Trunk.Width)},
		{Key: prefix + "trunk.vocabulary", Value: uint32(h.Trunk.Vocabulary)},
		{Key: prefix + "trunk.template", Value: h.Trunk.Template},
		{Key: prefix + "padding", Value: h.Padding},
		{Key: prefix + "prefixes", Value: h.Prefixes},
		{Key: prefix + "layers", Value: uint32(len(h.Layers))},
	}
	tensors := layerTensors("head", h.Layers)
	if r := h.Reading; r.Layers != nil {
		reads := make([]int32, len(r.Layers))
		for i, l := range r.Layers {
			reads[i] = int32(l)
		}
		at := slices.IndexFunc(kvs, func(kv gguf.KV) bool { return kv.Key == prefix+"state" })
		kvs[at].Value = stateLayers
		kvs = append(kvs, gguf.KV{Key: keyReads, Value: reads}, gguf.KV{Key: prefix + "pooling.longest", Value: uint32(r.Longest)})
	}
	if q := h.Reading.Query; q != nil {
		tensors = append(tensors, gguf.Tensor{Name: queryTensor, Shape: []uint64{uint64(len(q))}, Data: q})
	}
	if e := h.Reading.Each; e != nil {
		tensors = append(tensors, layerTensors(eachName, []Layer{*e})...)
	}
	if v := h.Reading.Recall; v != nil {
		more, weights := v.Pack(recallName)
		kvs, tensors = append(kvs, more...), append(tensors, weights...)
	}
	if g := h.Gate; g != nil {
		kvs = append(kvs, gguf.KV{Key: keyGate, Value: g.Temperature}, gguf.KV{Key: prefix + "gate.scale", Value: g.Scale},
			gguf.KV{Key: prefix + "gate.layers", Value: uint32(len(g.Layers))})
		tensors = append(tensors, layerTensors("gate", g.Layers)...)
	}
	if h.Trunk.Norm != nil {
		tensors = append(tensors, gguf.Tensor{Name: normTensor, Shape: []uint64{uint64(h.Trunk.Width)}, Data: h.Trunk.Norm})
	}
	sum := gguf.Checksum(kvs, tensors, keyChecksum)
	return gguf.Write(path, append(kvs, gguf.KV{Key: keyChecksum, Value: sum}), tensors)
}

// version is the first version of the format that has what the head needs.
func (h *Head) version() uint32 {
	switch h.Reading.Pooling {
	case Recall:
		return recallVersion
	case Mentions:
		return newest
	}
	return fileVersion
}

func layerTensors(name string, layers []Layer) (out []gguf.Tensor) {
	for i, l := range layers {
		out = append(out, gguf.Tensor{Name: fmt.Sprintf("%s.%d.weight", name, i), Shape: []uint64{uint64(l.In), uint64(l.Out)}, Data: l.Weight})
		if l.Bias != nil {
			out = append(out, gguf.Tensor{Name: fmt.Sprintf("%s.%d.bias", name, i), Shape: []uint64{uint64(l.Out)}, Data: l.Bias})
		}
	}
	return out
}

// Load reads a head that Save wrote. Any damage is an error that names the file and ends in what
// to do.
func Load(path string) (*Head, error) {
	f, err := gguf.Read(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New("", "reward", nil, "check the path of the head", "%w", err)
		}
		return nil, fmt.Errorf("reward head: %w", err)
	}
	fail := func(hint, format string, args ...any) (*Head, error) {
		return nil, fmt.Errorf("reward head: %w", &gguf.Error{Path: path, Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
	if f.Str(keyType) != FileType {
		return fail("name a head that ivo reward import or ivo reward train wrote, and behind @ the model whose states it reads", "is a GGUF file, but not a reward head")
	}
	if v, _ := f.Int(prefix + "version"); v < fileVersion || v > newest {
		return fail("make the head again, or use the ivo that wrote it", "head format version %d, this ivo reads %d to %d", v, fileVersion, newest)
	}
	h, err := decode(f)
	if err != nil {
		return fail(hintImport, "damaged reward head: %v", err)
	}
	return h, nil
}

// decode builds the head from a file of the right type and version.
func decode(f *gguf.File) (*Head, error) {
	var tensors []gguf.Tensor
	for _, t := range f.Tensors {
		x, err := f.ReadF32(t.Name)
		if err != nil {
			return nil, err
		}
		tensors = append(tensors, gguf.Tensor{Name: t.Name, Shape: t.Shape, Data: x})
	}
	if sum, ok := f.Value(keyChecksum).(uint64); !ok || sum != gguf.Checksum(f.KVs, tensors, keyChecksum) {
		return nil, errors.New("its checksum does not fit")
	}
	// What follows was written by Save, or by somebody who knows how to sum.
	number := func(key string) int {
		v, _ := f.Value(prefix + key).(uint32)
		return int(v)
	}
	h := &Head{Source: f.Str(prefix + "source"), Trunk: Trunk{
		Architecture: f.Str(prefix + "trunk.architecture"), Width: number("trunk.width"), Vocabulary: number("trunk.vocabulary"), Template: f.Str(prefix + "trunk.template"),
	}}
	if padding, _ := f.Value(prefix + "padding").([]int32); len(padding) > 0 {
		h.Padding = padding
	}
	h.Prefixes, _ = f.Value(prefix + "prefixes").(bool)
	h.Layers = layersOf(tensors, "head", number("layers"))
	if pooling := Pooling(f.Str(prefix + "pooling")); pooling != Last {
		h.Reading.Pooling = pooling
	}
	switch state := f.Str(prefix + "state"); state {
	case stateNorm:
	case stateLayers:
		reads, _ := f.Value(keyReads).([]int32)
		h.Reading.Layers = make([]int, len(reads))
		for i, l := range reads {
			h.Reading.Layers[i] = int(l)
		}
		h.Reading.Longest = number("pooling.longest")
	default:
		return nil, fmt.Errorf("it reads the state %q", state)
	}
	if each := layersOf(tensors, eachName, 1); len(each) > 0 && each[0].Weight != nil {
		h.Reading.Each = &each[0]
	}
	if temperature, ok := f.Value(keyGate).(float64); ok {
		scale, _ := f.Value(prefix + "gate.scale").(float64)
		h.Gate = &Gate{layersOf(tensors, "gate", number("gate.layers")), temperature, scale}
	}
	if h.Reading.Pooling == Recall {
		weights := map[string][]float32{}
		for _, t := range tensors {
			if name, ok := strings.CutPrefix(t.Name, recallName); ok {
				weights[name] = t.Data
			}
		}
		var err error
		if h.Reading.Recall, err = valuehead.Unpack(f, weights); err != nil {
			return nil, err
		}
	}
	for _, t := range tensors {
		switch t.Name {
		case normTensor:
			h.Trunk.Norm = t.Data
		case queryTensor:
			h.Reading.Query = t.Data
		}
	}
	return h, h.check()
}

// layersOf finds n layers among tensors; what is missing leaves a layer that check refuses.
func layersOf(tensors []gguf.Tensor, name string, n int) []Layer {
	layers := make([]Layer, min(n, len(tensors)))
	for i := range layers {
		for _, t := range tensors {
			switch t.Name {
			case fmt.Sprintf("%s.%d.weight", name, i):
				if len(t.Shape) == 2 {
					layers[i].In, layers[i].Out, layers[i].Weight = int(t.Shape[0]), int(t.Shape[1]), t.Data
				}
			case fmt.Sprintf("%s.%d.bias", name, i):
				layers[i].Bias = t.Data
			}
		}
	}
	return layers
}
