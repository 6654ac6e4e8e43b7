package llama_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/testmodel"
	"github.com/ivo-decoding/ivo/llama"
)

// dequantized is the second computation: the tensor's definition in the GGUF format, in Go.
func dequantized(t testing.TB, path, name string) []float32 {
	t.Helper()
	f, err := gguf.ReadModel(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range f.Parts() {
		info, ok := part.Tensor(name)
		if !ok {
			continue
		}
		if info.Type == gguf.F32 || info.Type == gguf.F16 {
			x, err := part.ReadF32(name)
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		file, err := os.ReadFile(part.Path)
		if err != nil {
			t.Fatal(err)
		}
		raw := file[part.DataOffset+int64(info.Offset):][:info.Size]
		half := func(b []byte) float32 { return halfFloat(binary.LittleEndian.Uint16(b)) }
		var out []float32
		switch info.Type.String() {
		case "BF16":
			for at := 0; at < len(raw); at += 2 {
				out = append(out, math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[at:]))<<16))
			}
		case "Q8_0": // a scale, 32 signed bytes
			for at := 0; at < len(raw); at += 34 {
				for _, q := range raw[at+2 : at+34] {
					out = append(out, half(raw[at:])*float32(int8(q)))
				}
			}
		case "Q4_1": // a scale, a minimum, 32 nibbles: the low ones first
			for at := 0; at < len(raw); at += 20 {
				d, m := half(raw[at:]), half(raw[at+2:])
				for _, q := range raw[at+4 : at+20] {
					out = append(out, d*float32(q&15)+m)
				}
				for _, q := range raw[at+4 : at+20] {
					out = append(out, d*float32(q>>4)+m)
				}
			}
		default:
			t.Fatalf("the test does not know %v", info.Type)
		}
		return out
	}
	t.Fatalf("%s has no %s", path, name)
	return nil
}

// halfFloat is an IEEE half: sign, 5 bits of exponent, 10 of mantissa.
func halfFloat(h uint16) float32 {
	x := math.Ldexp(float64(h&0x3ff), -24)
	if e := int(h >> 10 & 31); e > 0 {
		x = math.Ldexp(float64(h&0x3ff|0x400), e-25)
	}
	if h>>15 != 0 {
		x = -x
	}
	return float32(x)
}

// The rows are what the file holds, whatever its type and however many are read at a time.
func TestEmbeddings(t *testing.T) {
	random := randomModel(t, "llama", 1, nil)
	paths := map[string]string{"lab": labModel, "random": random, "split": split(t, random, 0, 2)}
	for _, quantized := range []string{"F16", "BF16", "Q8_0", "Q4_1"} {
		paths[quantized] = filepath.Join(t.TempDir(), quantized+".gguf")
		if err := llama.Quantize(random, paths[quantized], llama.QuantizeParams{Type: quantized, Threads: 1, Pure: true}); err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) { checkEmbeddings(t, path) })
	}
	t.Run("SmolLM2", func(t *testing.T) { checkEmbeddings(t, testmodel.SmolLM2(t)) })
}

func checkEmbeddings(t *testing.T, path string) {
	m := load(t, path)
	e, err := m.Embeddings()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	want := dequantized(t, path, "token_embd.weight")
	n, w := e.Len(), e.Width()
	if n != m.Info().Vocab || w != m.Info().Width || len(want) != n*w {
		t.Fatalf("%d rows of %d, the model has %d tokens and width %d", n, w, m.Info().Vocab, m.Info().Width)
	}
	block := make([]float32, 100*w)
	for from := 0; from < n; from += 100 {
		some := block[:min(100, n-from)*w]
		if err := e.Rows(from, some); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(some, want[from*w:][:len(some)]) {
			t.Fatalf("rows from %d on differ", from)
		}
	}
	for _, name := range []string{"token_embd.weight", "output_norm.weight"} {
		if all, err := llama.Weights(m.Metadata(), name); err != nil || !slices.Equal(all, dequantized(t, path, name)) {
			t.Errorf("the weights of %s differ: %v", name, err)
		}
	}
	if _, err := llama.Weights(m.Metadata(), "blk.0.nothing"); err == nil {
		t.Error("a tensor that is not there was read")
	}
	for _, token := range []int{0, n / 3, n - 1} {
		if err := e.Row(token, block); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(block[:w], want[token*w:(token+1)*w]) {
			t.Errorf("row %d differs", token)
		}
	}
}

func TestEmbeddingsMisuse(t *testing.T) {
	e, err := load(t, randomModel(t, "llama", 1, nil)).Embeddings()
	if err != nil {
		t.Fatal(err)
	}
	row := make([]float32, testWidth)
	for name, err := range map[string]error{
		"a negative token":  e.Row(-1, row),
		"a token too large": e.Row(testVocab, row),
		"too many rows":     e.Rows(testVocab-1, make([]float32, 2*testWidth)),
		"no room":           e.Row(0, row[1:]),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if e.Row(0, row) == nil {
		t.Error("a row after Close: no error")
	}
}
