package llama

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// LoRA is a low-rank adapter loaded for a model (llama_adapter_lora). It lives as long
// as the model does; [Context.SetLoRA] puts it to use.
type LoRA struct {
	c     *C.ivo_lora
	model *Model
	index int // among the model's, in the order of loading
	path  string
}

// LoadLoRA reads a LoRA adapter in GGUF for this model (llama_adapter_lora_init), as
// llama.cpp's convert_lora_to_gguf.py writes it. Load adapters before making the contexts
// that are to use them: a context's graph is sized for those known by then.
func (m *Model) LoadLoRA(path string) (*LoRA, error) {
	const op = "load LoRA"
	if err := m.enter(op); err != nil {
		return nil, err
	}
	defer m.leave()
	head, err := readAdapter(op, "lora", path)
	if err != nil {
		return nil, err
	}
	if err := m.checkLoRA(head); err != nil {
		return nil, &Error{Op: op, Path: path, Err: err, Hint: "convert the adapter for this very model"}
	}
	m.adapters.Lock()
	defer m.adapters.Unlock()
	takeErrors()
	cpath := C.CString(path)
	defer C.free(unsafe.Pointer(cpath))
	c := C.ivo_lora_load(m.c, cpath)
	if c == nil {
		return nil, &Error{Op: op, Path: path, Err: errors.New(takeErrors()), Hint: "convert the adapter for this very model"}
	}
	l := &LoRA{c: c, model: m, index: len(m.loras), path: path}
	m.loras = append(m.loras, c)
	return l, nil
}

// readAdapter reads the header of the file that a setting names.
func readAdapter(op, setting, path string) (*gguf.File, error) {
	f, err := gguf.Read(path)
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		return nil, &Error{Op: op, Path: path, Err: pe.Err, Hint: "check the path of {" + setting + "}"}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return f, nil
}

// checkLoRA compares an adapter's header with the model's: llama.cpp asserts on the types
// of keys, and on shapes only in part.
func (m *Model) checkLoRA(f *gguf.File) error {
	for _, x := range [][2]string{{"general.type", "adapter"}, {"adapter.type", "lora"}, {"general.architecture", m.info.Architecture}} {
		key, want := x[0], x[1]
		if got := f.Str(key); got != want {
			return fmt.Errorf("%s is %q, not %q", key, got, want)
		}
	}
	if v := f.Value("adapter.lora.alpha"); v != nil {
		if a, ok := v.(float32); !ok || a-a != 0 {
			return fmt.Errorf("adapter.lora.alpha is %v, not a number of 32 bits", v)
		}
	}
	base := make(map[string][]uint64)
	for _, part := range m.head.Parts() {
		for _, t := range part.Tensors {
			base[t.Name] = t.Shape
		}
	}
	pairs := make(map[string][2][]uint64)
	for _, t := range f.Tensors {
		if slices.Contains(noWeights, t.Type) {
			return fmt.Errorf("tensor %q is of type %v, in which no weights are stored", t.Name, t.Type)
		}
		name, isA := strings.CutSuffix(t.Name, ".lora_a")
		half := 0
		if !isA {
			var isB bool
			if name, isB = strings.CutSuffix(t.Name, ".lora_b"); !isB {
				return fmt.Errorf("tensor %q is no half of a pair .lora_a and .lora_b", t.Name)
			}
			half = 1
		}
		p := pairs[name]
		p[half] = t.Shape
		pairs[name] = p
	}
	if len(pairs) == 0 {
		return errors.New("it holds no tensors")
	}
	for name, p := range pairs {
		w, ok := base[name]
		a, b := p[0], p[1]
		switch {
		case !ok:
			return fmt.Errorf("the model has no tensor %q", name)
		case a == nil || b == nil:
			return fmt.Errorf("tensor %q has one half of a pair only", name)
		case len(w) != 2 || len(a) != 2 || len(b) != 2:
			return fmt.Errorf("tensor %q: %v and %v are no low-rank pair for %v", name, a, b, w)
		case name == "token_embd.weight": // looked up, not multiplied: its A holds a row a token
			if a[0] != b[0] || a[1] != w[1] || b[1] != w[0] {
				return fmt.Errorf("tensor %q: %v and %v do not fit the model's %v", name, a, b, w)
			}
		case a[1] != b[0]:
			return fmt.Errorf("tensor %q: %v and %v are no low-rank pair for %v", name, a, b, w)
		case a[0] != w[0] || b[1] != w[1]:
			return fmt.Errorf("tensor %q: %v and %v do not fit the model's %v", name, a, b, w)
		}
	}
	return nil
}

// LoRAScale is an adapter and the strength it is applied with, 1 for its own.
type LoRAScale struct {
	LoRA  *LoRA
	Scale float32
}

// SetLoRA applies adapters to what the context decodes from now on, replacing the ones it
// had; none takes all away (llama_set_adapters_lora, llama_set_adapter_lora). The KV cells
// of tokens decoded before stay as they are: clear the sequences to decode them anew. The
// pending batch is emptied, rows end, and a sequence must be able to take one token and
// drop it again ([ErrContextFull] otherwise, with nothing changed): a cell must be free, and
// of a recurrent model a whole sequence.
func (c *Context) SetLoRA(adapters ...LoRAScale) error {
	const op = "set LoRA"
	for i, a := range adapters {
		switch {
		case a.LoRA == nil:
			return failf(op, "", "adapter %d is nil", i)
		case a.LoRA.model != c.model:
			return failf(op, "load the adapter with this context's model", "adapter %s belongs to another model", a.LoRA.path)
		case a.LoRA.index >= c.loras:
			return failf(op, "make the context after loading the adapter", "adapter %s is younger than the context", a.LoRA.path)
		case a.Scale-a.Scale != 0:
			return failf(op, "", "scale %v", a.Scale)
		case slices.ContainsFunc(adapters[:i], func(b LoRAScale) bool { return b.LoRA == a.LoRA }):
			return failf(op, "give it once, with the sum of the scales", "adapter %s stands twice", a.LoRA.path)
		}
	}
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	// Arrays in C: cgo passes no Go memory that holds pointers. One spare element, so that
	// none is an array too.
	n := len(adapters)
	cs := unsafe.Slice((**C.ivo_lora)(C.calloc(C.size_t(n+1), C.size_t(unsafe.Sizeof(uintptr(0))))), n+1)
	defer C.free(unsafe.Pointer(&cs[0]))
	scales := make([]C.float, n+1)
	for i, a := range adapters {
		cs[i], scales[i] = a.LoRA.c, C.float(a.Scale)
	}
	takeErrors()
	return c.adapted(op, C.ivo_set_loras(c.c, &cs[0], &scales[0], C.size_t(n)))
}

// adapted ends a change of adapters: what was in the batch is gone, and so are the rows.
func (c *Context) adapted(op string, status C.int32_t) error {
	c.empty()
	switch status {
	case 0:
		return nil
	case 1:
		return &Error{Op: op, Err: ErrContextFull, Hint: "drop a sequence: the change decodes a token, which takes a free cell"}
	}
	return failf(op, "", "llama.cpp returned %d: %s", status, takeErrors())
}

// ControlVector steers a model by adding a direction to the state after each layer
// (representation engineering, arXiv 2310.01405).
type ControlVector struct {
	Width int
	// Directions are by layer, each [Width] or nil for none. llama.cpp adds nothing after
	// the first layer, so that Directions[0] must be nil.
	Directions [][]float32
}

// ReadControlVector reads a control vector in GGUF as llama-cvector-generator writes it:
// tensors direction.1, direction.2 and so on.
func ReadControlVector(path string) (*ControlVector, error) {
	const op = "read control vector"
	f, err := readAdapter(op, "control_vector", path)
	if err != nil {
		return nil, err
	}
	fail := func(format string, args ...any) error {
		return &Error{Op: op, Path: path, Err: fmt.Errorf(format, args...), Hint: "make it with llama-cvector-generator"}
	}
	v := &ControlVector{}
	for _, t := range f.Tensors {
		var layer int
		if n, err := fmt.Sscanf(t.Name, "direction.%d", &layer); n != 1 || err != nil || layer < 1 || layer > maxLayers {
			return nil, fail("tensor %q is no direction", t.Name)
		}
		x, err := f.ReadF32(t.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		for len(v.Directions) <= layer {
			v.Directions = append(v.Directions, nil)
		}
		if v.Width == 0 {
			v.Width = len(x)
		}
		if len(t.Shape) != 1 || len(x) != v.Width || v.Directions[layer] != nil {
			return nil, fail("tensor %q of shape %v", t.Name, t.Shape)
		}
		v.Directions[layer] = x
	}
	if v.Width == 0 {
		return nil, fail("it holds no direction")
	}
	return v, nil
}

// maxLayers bounds the layer numbers that are believed: llama.cpp's own limit.
const maxLayers = 512

// Add adds scale times w to v, as several --control-vector-scaled flags do.
func (v *ControlVector) Add(w *ControlVector, scale float32) error {
	if len(v.Directions) == 0 {
		v.Width = w.Width
	}
	if v.Width != w.Width {
		return failf("add control vectors", "use vectors made for one model", "widths %d and %d", v.Width, w.Width)
	}
	for len(v.Directions) < len(w.Directions) {
		v.Directions = append(v.Directions, nil)
	}
	for i, d := range w.Directions {
		if d == nil {
			continue
		}
		sum := make([]float32, len(d))
		copy(sum, v.Directions[i])
		for j, x := range d {
			sum[j] += scale * x
		}
		v.Directions[i] = sum
	}
	return nil
}

// SetControlVector adds v to what the context decodes from now on, after the layers from
// to to, both counted from 1 and included; 0, 0 means all of them. A nil v takes it away
// (llama_set_adapter_cvec, llama_apply_adapter_cvec). What is said of old cells, the batch
// and the free cell at [Context.SetLoRA] holds here too.
func (c *Context) SetControlVector(v *ControlVector, from, to int) error {
	const op = "set control vector"
	if last := c.model.info.Layers - 1; from == 0 && to == 0 {
		from, to = 1, last
	}
	var data []float32
	if v != nil {
		var err error
		if data, err = c.model.steering(v, from, to); err != nil {
			return &Error{Op: op, Err: err}
		}
	}
	if err := c.enter(op); err != nil {
		return err
	}
	defer c.leave()
	takeErrors()
	var p *C.float
	if data != nil {
		p = (*C.float)(unsafe.Pointer(&data[0]))
	}
	return c.adapted(op, C.ivo_set_cvec(c.c, p, C.size_t(len(data)), C.int32_t(c.model.info.Width), C.int32_t(from), C.int32_t(to)))
}

// steering is what llama.cpp takes of a control vector: [layers-1][width], of layers 1 and up. from and to are checked
// only, 0 and 0 meaning all.
func (m *Model) steering(v *ControlVector, from, to int) ([]float32, error) {
	const op = "control vector"
	last, width := m.info.Layers-1, m.info.Width
	switch {
	case v.Width != width:
		return nil, failf(op, "use a vector made for this model", "a width of %d, the model's is %d", v.Width, width)
	case (from != 0 || to != 0) && (from < 1 || to > last || from > to):
		return nil, failf(op, fmt.Sprintf("layers run from 1 to %d", last), "layers %d to %d", from, to)
	case len(v.Directions) > last+1:
		return nil, failf(op, "use a vector made for this model", "a direction for layer %d, the last of the model is %d", len(v.Directions)-1, last)
	}
	data := make([]float32, last*width)
	for i, d := range v.Directions {
		if d == nil {
			continue
		}
		if i == 0 || len(d) != width {
			return nil, failf(op, "use a vector made for this model", "a direction of %d values for layer %d", len(d), i)
		}
		for _, x := range d {
			if x-x != 0 {
				return nil, failf(op, "the file may be damaged", "the direction of layer %d has the value %v", i, x)
			}
		}
		copy(data[(i-1)*width:], d)
	}
	return data, nil
}
