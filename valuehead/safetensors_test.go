package valuehead

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"sort"
	"testing"
)

// readSafetensors reads a file by the rules of the format, and checks them: a header of at
// most 100 MB that begins with a brace, tensors whose bytes fit their shape, and data
// without holes or overlaps up to the end of the file.
func readSafetensors(t *testing.T, path string) (map[string][]float32, map[string]string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n := binary.LittleEndian.Uint64(b)
	if n > 100e6 || 8+n > uint64(len(b)) || b[8] != '{' {
		t.Fatalf("a header of %d bytes in a file of %d", n, len(b))
	}
	var header map[string]json.RawMessage
	if err := json.Unmarshal(b[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	var metadata map[string]string
	if err := json.Unmarshal(header["__metadata__"], &metadata); err != nil {
		t.Fatal(err)
	}
	delete(header, "__metadata__")
	data := b[8+n:]
	out := make(map[string][]float32)
	var ends [][2]int
	for name, raw := range header {
		var info struct {
			Dtype        string
			Shape        []int
			Data_offsets [2]int
		}
		if err := json.Unmarshal(raw, &info); err != nil {
			t.Fatal(err)
		}
		size := 4
		for _, d := range info.Shape {
			size *= d
		}
		from, to := info.Data_offsets[0], info.Data_offsets[1]
		if info.Dtype != "F32" || to-from != size {
			t.Fatalf("%s: %+v", name, info)
		}
		for at := from; at < to; at += 4 {
			out[name] = append(out[name], math.Float32frombits(binary.LittleEndian.Uint32(data[at:])))
		}
		ends = append(ends, [2]int{from, to})
	}
	sort.Slice(ends, func(i, j int) bool { return ends[i][0] < ends[j][0] })
	at := 0
	for _, e := range ends {
		if e[0] != at {
			t.Fatalf("data from %d on, the tensor before ends at %d", e[0], at)
		}
		at = e[1]
	}
	if at != len(data) {
		t.Fatalf("tensors end at %d of %d bytes", at, len(data))
	}
	return out, metadata
}

// A linear head computed from the exported numbers alone gives the head's values.
func TestSafetensors(t *testing.T) {
	h := smallHead(t, Linear)
	path := filepath.Join(t.TempDir(), "head.safetensors")
	if err := h.SaveSafetensors(path); err != nil {
		t.Fatal(err)
	}
	x, metadata := readSafetensors(t, path)
	if metadata["ivo.kind"] != "linear" || metadata["ivo.backbone"] != "model-a" {
		t.Errorf("metadata %v", metadata)
	}
	row := make([]float32, h.Features().Width())
	for i := range row {
		row[i] = float32(i) - 3
	}
	out := make([]float32, 1)
	if err := h.Predict(row, 1, out); err != nil {
		t.Fatal(err)
	}
	sum := float64(x["out.bias"][0])
	for i, v := range row {
		sum += float64(x["out.weight"][i]) * float64((v-x["input.mean"][i])*x["input.inverse_scale"][i])
	}
	mean, scale := h.Reward()
	if want := float64(mean) + float64(scale)*sum; math.Abs(want-float64(out[0])) > 1e-4 {
		t.Errorf("the exported numbers give %g, the head %g", want, out[0])
	}
	// Every tensor of every kind is there.
	for _, kind := range Kinds {
		h := smallHead(t, kind)
		if err := h.SaveSafetensors(path); err != nil {
			t.Fatal(err)
		}
		x, _ := readSafetensors(t, path)
		for _, want := range h.named() {
			if got := x[want.name]; len(got) != len(want.data) || got[0] != want.data[0] {
				t.Errorf("%s: tensor %s holds %d numbers, want %d", kind, want.name, len(got), len(want.data))
			}
		}
	}
}
