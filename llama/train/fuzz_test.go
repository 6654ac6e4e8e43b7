package train

import (
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
