// Package testmodel finds the real model that some tests run on. It is no part of the
// repository: make model (scripts/model) fetches it into ivo's cache.
package testmodel

import (
	"os"
	"testing"

	"github.com/ivo-decoding/ivo/internal/cachedir"
)

// The file of SmolLM2-135M-Instruct: 30 layers, 49,152 tokens, a chat template, quantized
// to Q4_1. Apache-2.0.
const (
	Name   = "SmolLM2-135M-Instruct.Q4_1.gguf"
	Size   = 98_362_432
	SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
)

// Path is where the model lies, or is to lie.
func Path() (string, error) { return cachedir.Path("models", Name) }

// SmolLM2 is the path of SmolLM2-135M-Instruct. A test is skipped where it is absent.
func SmolLM2(t testing.TB) string {
	t.Helper()
	path, err := Path()
	if err != nil {
		t.Skip(err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() != Size {
		t.Skipf("SmolLM2-135M-Instruct is not at %s: make model puts it there", path)
	}
	return path
}
