package llama

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// sampleBytes of every tensor's start and end enter the fingerprint: enough to tell
// any two trained models apart without reading gigabytes.
const sampleBytes = 4096

// Fingerprint identifies the weights of a GGUF model: a SHA-256 over the tensor
// directory (names, types, shapes) and the first and last 4 KiB of each tensor. A
// value head learned on one backbone carries its fingerprint: the hidden states of
// another model, or of another quantization of the same one, are not what it knows.
//
// A split model read with [gguf.ReadModel] has the fingerprint of the file it was
// split from: llama-gguf-split keeps the tensors' order, here and when it merges.
func Fingerprint(f *gguf.File) (string, error) {
	h := sha256.New()
	for _, part := range f.Parts() {
		if err := addTensors(h, part); err != nil {
			return "", fmt.Errorf("fingerprint %s: %w", part.Path, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func addTensors(h io.Writer, f *gguf.File) error {
	fd, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer fd.Close()
	for _, t := range f.Tensors {
		fmt.Fprintf(h, "%s %d %v\n", t.Name, t.Type, t.Shape)
		start := f.DataOffset + int64(t.Offset)
		n := min(int64(t.Size), sampleBytes)
		for _, off := range []int64{start, start + int64(t.Size) - n} {
			if _, err := io.Copy(h, io.NewSectionReader(fd, off, n)); err != nil {
				return err
			}
		}
	}
	return nil
}
