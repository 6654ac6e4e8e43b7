// Package testcheckpoint writes checkpoints for tests, small and random, in the files that Hugging
// Face's models come in.
package testcheckpoint

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Tensor is one of a checkpoint. Values are to be such that its type holds them.
type Tensor struct {
	Name   string
	Type   string // F32, F16 or BF16
	Shape  []int
	Values []float32
}

// Random is a tensor of numbers between -1/4 and 1/4 that F16 and BF16 hold exactly.
func Random(rng *rand.Rand, kind, name string, shape ...int) Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	t := Tensor{name, kind, shape, make([]float32, n)}
	for i := range t.Values {
		t.Values[i] = float32(rng.IntN(255)-127) / 512
	}
	return t
}

// Write writes a checkpoint into a folder, in one file or spread over several with an index, and
// returns the path of the file or the index. config, if it is not nil, becomes config.json.
func Write(folder string, shards int, config map[string]any, tensors ...Tensor) (path string, err error) {
	index, parts := map[string]string{}, make([][]Tensor, shards)
	name := func(i int) string { return fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, shards) }
	if shards == 1 {
		name = func(int) string { return "model.safetensors" }
	}
	for i, tensor := range tensors {
		parts[i%shards] = append(parts[i%shards], tensor)
		index[tensor.Name] = name(i % shards)
	}
	if path = filepath.Join(folder, name(0)); shards > 1 {
		path = filepath.Join(folder, "model.safetensors.index.json")
		err = writeJSON(path, map[string]any{"weight_map": index})
	}
	if config != nil {
		err = errors.Join(err, writeJSON(filepath.Join(folder, "config.json"), config))
	}
	for i, part := range parts {
		data, bad := file(part)
		err = errors.Join(err, bad, os.WriteFile(filepath.Join(folder, name(i)), data, 0o644))
	}
	return path, err
}

func writeJSON(path string, v any) error {
	text, err := json.Marshal(v)
	return errors.Join(err, os.WriteFile(path, text, 0o644))
}

// file is the bytes of a file of some tensors.
func file(tensors []Tensor) ([]byte, error) {
	header, data := map[string]any{"__metadata__": map[string]string{"format": "pt"}}, []byte{}
	for _, tensor := range tensors {
		begin := len(data)
		for _, x := range tensor.Values {
			switch bits := math.Float32bits(x); tensor.Type {
			case "F32":
				data = binary.LittleEndian.AppendUint32(data, bits)
			case "BF16":
				data = binary.LittleEndian.AppendUint16(data, uint16(bits>>16))
			case "F16":
				data = binary.LittleEndian.AppendUint16(data, half(x))
			default:
				return nil, fmt.Errorf("a tensor of type %q", tensor.Type)
			}
		}
		header[tensor.Name] = map[string]any{"dtype": tensor.Type, "shape": tensor.Shape, "data_offsets": []int{begin, len(data)}}
	}
	text, err := json.Marshal(header)
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(text)))
	return append(append(out, text...), data...), err
}

// half is the binary16 of a number that it holds exactly.
func half(x float32) uint16 {
	var sign uint16
	if x < 0 {
		sign, x = 1<<15, -x
	}
	if x < 0x1p-14 { // zero and subnormal
		return sign | uint16(x*0x1p24)
	}
	fraction, exponent := math.Frexp(float64(x)) // fraction in [1/2, 1)
	return sign | uint16(exponent+14)<<10 | uint16(fraction*2048)&1023
}
