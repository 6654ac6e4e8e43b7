package llama

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// Norms identifies the training of a model whatever its quantization: a SHA-256 over names
// and content of the tensors of one dimension, which are the gains of its norms and its
// biases. They stay in single precision when a model is quantized, and fine-tuning moves them, unless
// it is by adapters, which are of matrices. It is empty where they are of another type.
func Norms(f *gguf.File) (string, error) {
	type place struct {
		gguf.TensorInfo
		part *gguf.File
	}
	var all []place
	for _, part := range f.Parts() {
		for _, t := range part.Tensors {
			// Frequencies of rotary positions are computed, by some converters only.
			if len(t.Shape) == 1 && !strings.HasPrefix(t.Name, "rope_") {
				all = append(all, place{t, part})
			}
		}
	}
	slices.SortFunc(all, func(a, b place) int { return cmp.Compare(a.Name, b.Name) })
	h := sha256.New()
	for _, t := range all {
		if t.Type != gguf.F32 {
			return "", nil
		}
		fmt.Fprintf(h, "%s %v\n", t.Name, t.Shape)
		if err := copyTensor(h, t.part, t.TensorInfo); err != nil {
			return "", fmt.Errorf("read the norms of %s: %w", t.part.Path, err)
		}
	}
	if len(all) == 0 {
		return "", nil
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func copyTensor(w io.Writer, f *gguf.File, t gguf.TensorInfo) error {
	fd, err := os.Open(f.Path)
	if err != nil {
		return err
	}
	defer fd.Close()
	_, err = io.Copy(w, io.NewSectionReader(fd, f.DataOffset+int64(t.Offset), int64(t.Size)))
	return err
}
