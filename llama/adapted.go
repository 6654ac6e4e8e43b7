package llama

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Adapters change what a model computes without being a part of its file.
type Adapters struct {
	LoRA    []AdapterFile
	Control []AdapterFile // control vectors, which are added up
	// The layers from From to To are steered by them, both included; 0 and 0 mean all.
	From, To int
}

// AdapterFile is a file, and the strength it is applied with.
type AdapterFile struct {
	Path  string
	Scale float32
}

func (f AdapterFile) String() string { return fmt.Sprintf("%s:%g", f.Path, f.Scale) }

// Spelled are the files as [ParseAdapters] reads them.
func (a Adapters) Spelled() (lora, control []string) {
	for _, f := range a.LoRA {
		lora = append(lora, f.String())
	}
	for _, f := range a.Control {
		control = append(control, f.String())
	}
	return lora, control
}

// ParseAdapters reads FILE[:SCALE], or several of these with commas between.
func ParseAdapters(texts []string) (files []AdapterFile, err error) {
	for _, text := range texts {
		for _, one := range strings.Split(text, ",") {
			f := AdapterFile{Path: one, Scale: 1}
			if i := strings.LastIndexByte(one, ':'); i >= 0 {
				if x, err := strconv.ParseFloat(one[i+1:], 32); err == nil {
					f.Path, f.Scale = one[:i], float32(x)
				}
			}
			if f.Path == "" || f.Scale-f.Scale != 0 {
				return nil, fmt.Errorf("%q (give the path of a file, and :SCALE behind it if it is not 1)", text)
			}
			files = append(files, f)
		}
	}
	return files, nil
}

// Check reads what can be read of the files without a model.
func (a Adapters) Check() error {
	for _, f := range a.LoRA {
		if _, err := readAdapter("load LoRA", "lora", f.Path); err != nil {
			return err
		}
	}
	for _, f := range a.Control {
		if _, err := ReadControlVector(f.Path); err != nil {
			return err
		}
	}
	return nil
}

// adapted is what a model's contexts are made with.
type adapted struct {
	loras    []LoRAScale
	control  *ControlVector
	from, to int
	id       string // is added to the fingerprint
}

// Adapt lets all contexts that are made from now on compute with adapters, and the model's fingerprint say so: what
// is learned from its states is known to be learned with them. It is done once, before there are any contexts.
func (m *Model) Adapt(a Adapters) error {
	const op = "adapt"
	switch {
	case len(a.LoRA) == 0 && len(a.Control) == 0:
		return nil
	case m.refs.Load() > 0 || m.adapted.id != "":
		return failf(op, "adapt it once, before its contexts are made", "the model is in use")
	}
	var to adapted
	for _, f := range a.LoRA {
		l, err := m.LoadLoRA(f.Path)
		if err != nil {
			return err
		}
		to.loras = append(to.loras, LoRAScale{l, f.Scale})
	}
	if len(a.Control) > 0 {
		to.control, to.from, to.to = &ControlVector{}, a.From, a.To
	}
	for _, f := range a.Control {
		v, err := ReadControlVector(f.Path)
		if err != nil {
			return err
		}
		if err := to.control.Add(v, f.Scale); err != nil {
			return err
		}
		if _, err := m.steering(v, a.From, a.To); err != nil {
			return &Error{Op: op, Path: f.Path, Err: err}
		}
	}
	var err error
	if to.id, err = a.identity(); err == nil {
		m.adapted = to
	}
	return err
}

// identity tells adapters from others, whatever their order: by the content of their files, their scales, and layers.
func (a Adapters) identity() (string, error) {
	var parts []string
	for kind, files := range map[string][]AdapterFile{"lora": a.LoRA, "control": a.Control} {
		for _, f := range files {
			sum, err := sumOf(f.Path)
			if err != nil {
				return "", err
			}
			part := fmt.Sprintf("+%s-%016x*%s", kind, sum, strconv.FormatFloat(float64(f.Scale), 'g', -1, 32))
			if kind == "control" && a.From != 0 {
				part += fmt.Sprintf("[%d-%d]", a.From, a.To)
			}
			parts = append(parts, part)
		}
	}
	slices.SortFunc(parts, cmp.Compare)
	return strings.Join(parts, ""), nil
}

func sumOf(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	h := xxhash.New()
	_, err = io.Copy(h, f)
	return h.Sum64(), err
}

// adapt lets a new context compute with the model's adapters.
func (m *Model) adapt(c *Context) error {
	if len(m.adapted.loras) > 0 {
		if err := c.SetLoRA(m.adapted.loras...); err != nil {
			return err
		}
	}
	if v := m.adapted.control; v != nil {
		return c.SetControlVector(v, m.adapted.from, m.adapted.to)
	}
	return nil
}
