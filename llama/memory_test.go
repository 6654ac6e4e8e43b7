package llama_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/testfamily"
	"github.com/ivo-decoding/ivo/llama"
)

// lines keeps what llama.cpp logs.
type lines struct{ text []string }

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.text = append(l.text, r.Message)
	return nil
}
func (l *lines) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l *lines) WithGroup(string) slog.Handler      { return l }

// sum adds up the sizes that llama.cpp logs under a name, in bytes.
func (l *lines) sum(t *testing.T, name string) float64 {
	t.Helper()
	total, found := 0.0, false
	for _, line := range l.text {
		_, rest, ok := strings.Cut(line, name+" size =")
		if ok {
			var mib float64
			if _, err := fmt.Sscanf(strings.TrimSpace(rest), "%f MiB", &mib); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			total += mib * (1 << 20)
			found = true
		}
	}
	if !found {
		t.Fatalf("llama.cpp logs no %s size", name)
	}
	return total
}

// The estimate is what llama.cpp says that it allocates.
func TestEstimateMemory(t *testing.T) {
	old := slog.Default()
	defer slog.SetDefault(old)
	for _, test := range []struct {
		name string
		edit func([]gguf.KV, []gguf.Tensor) ([]gguf.KV, []gguf.Tensor)
		p    llama.ContextParams
	}{
		{"as trained", nil, llama.ContextParams{}},
		{"wide", nil, llama.ContextParams{Ctx: 16384, CacheK: llama.CacheF32}},
		{"many sequences", nil, llama.ContextParams{Ctx: 4096, Sequences: 64, UBatch: 64}},
		{"no flash attention", nil, llama.ContextParams{Ctx: 8192, Flash: llama.FlashOff}},
	} {
		path := randomModel(t, "llama", 1, test.edit)
		f, err := gguf.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := llama.EstimateMemory(f, test.p)
		if err != nil {
			t.Fatal(err)
		}
		m := load(t, path)
		log := &lines{}
		slog.SetDefault(slog.New(log))
		newContext(t, m, test.p)
		slog.SetDefault(old)
		if want := log.sum(t, "KV buffer"); float64(got.Cache) < want-6000 || float64(got.Cache) > want+6000 { // logged to 0.01 MiB
			t.Errorf("%s: cache of %d bytes, llama.cpp says %.0f", test.name, got.Cache, want)
		}
		if want := log.sum(t, "compute buffer"); float64(got.Compute) < want/2 || float64(got.Compute) > want*2 {
			t.Errorf("%s: compute buffers of %d bytes, llama.cpp says %.0f", test.name, got.Compute, want)
		}
		if got.Weights != m.Info().Size {
			t.Errorf("%s: weights of %d bytes, llama.cpp says %d", test.name, got.Weights, m.Info().Size)
		}
	}
}

// So it is of models that keep a state a sequence, in all layers or in some.
func TestEstimateMemoryOfStates(t *testing.T) {
	old := slog.Default()
	defer slog.SetDefault(old)
	for _, family := range testfamily.Families {
		if family.Memory != testfamily.Recurrent && family.Memory != testfamily.Hybrid {
			continue
		}
		path := filepath.Join(t.TempDir(), family.Architecture+".gguf")
		if err := family.Write(path, 1); err != nil {
			t.Fatal(err)
		}
		m, err := llama.Load(path, llama.ModelParams{})
		if err != nil {
			continue // this llama.cpp does not know it
		}
		p := llama.ContextParams{Ctx: 1024, Sequences: 60, Threads: 1}
		got, err := llama.EstimateMemory(m.Metadata(), p)
		if err != nil {
			t.Fatal(err)
		}
		log := &lines{}
		slog.SetDefault(slog.New(log))
		c, err := m.NewContext(p)
		slog.SetDefault(old)
		if err != nil {
			t.Fatal(err)
		}
		want := log.sum(t, "RS buffer")
		if family.Memory == testfamily.Hybrid {
			want += log.sum(t, "KV buffer")
		}
		if float64(got.Cache) < want-11000 || float64(got.Cache) > want+11000 { // two sizes logged to 0.01 MiB
			t.Errorf("%s: cache of %d bytes, llama.cpp says %.0f", family.Architecture, got.Cache, want)
		}
		if err := errors.Join(c.Close(), m.Close()); err != nil {
			t.Error(err)
		}
	}
}
