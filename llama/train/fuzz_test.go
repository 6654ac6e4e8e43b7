package train

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// Whatever GGUF file there is, it is refused, or a network that can be trained: its weights are those that its shape
// asks for.
func FuzzRead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "model.gguf")
	m, err := New(tiny, 1)
	if err == nil {
		err = m.WriteGGUF(path, nil)
	}
	if err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		file, err := gguf.Read(path)
		if err != nil {
			return // it has a test of its own
		}
		m, err := Read(file, nil)
		if err == nil && len(m.params) != m.Config.Params() {
			t.Errorf("%d weights for %+v", len(m.params), m.Config)
		}
	})
}

// Whatever a checkpoint holds it is refused, or a place from which the training goes on; what nobody has written with the checksum
// that fits it too.
func FuzzResume(f *testing.F) {
	m, err := New(tiny, 1)
	if err != nil {
		f.Fatal(err)
	}
	examples := examplesOf(randomDocs(4, tiny.Context, tiny, 1))
	path := filepath.Join(f.TempDir(), "checkpoint")
	opts := Options{Steps: 26, Checkpoint: path}.withDefaults(m.Config, examples)
	l := m.learn(0, 1)
	t := &trainer{opts: opts, learned: l, optimizer: newOptimizer(l, opts), fingerprint: "run", sampler: newSampler(examples, 1, cursor{})}
	if err := t.save(); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, int64(0), int64(0), int64(0), false)
	f.Add(whole[:len(whole)/2], int64(0), int64(0), int64(0), false)
	f.Add([]byte("some numbers"), int64(1), int64(0), int64(4), true)
	f.Add([]byte{0, 0, 0xc0, 0x7f}, int64(27), int64(-1), int64(5), true)
	f.Fuzz(func(test *testing.T, data []byte, step, epoch, next int64, sealed bool) {
		if sealed {
			for i := 0; i+4 <= len(data); i += 4 {
				t.optimizer.params[(i/4)%len(t.optimizer.params)] = math.Float32frombits(binary.LittleEndian.Uint32(data[i:]))
			}
			t.optimizer.step, t.sampler.at = int(step), cursor{int(epoch), int(next)}
			if err := t.save(); err != nil {
				test.Fatal(err)
			}
		} else if err := os.WriteFile(path, data, 0o644); err != nil {
			test.Fatal(err)
		}
		at, err := t.resume(len(examples))
		if err != nil {
			return
		}
		if t.optimizer.step < 0 || t.optimizer.step > opts.Steps {
			test.Errorf("it goes on after step %d of %d", t.optimizer.step, opts.Steps)
		}
		if len(newSampler(examples, 1, at).batch(10)) == 0 {
			test.Error("it goes on with nothing")
		}
	})
}
