package main

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// An archive holds its files under their modes, and the same files give the same bytes.
func TestPack(t *testing.T) {
	files := []file{{"LICENSE", 0o644, []byte("MIT")}, {"ivo", 0o755, []byte("program")}}
	dir := t.TempDir()
	var sums []string
	for _, name := range []string{"a", "b"} {
		sum, err := pack(filepath.Join(dir, name), "ivo-1", files)
		if err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if own := sha256.Sum256(data); !slices.Equal(own[:], sum) {
			t.Errorf("the sum is %x, not %x", own, sum)
		}
		sums = append(sums, fmt.Sprintf("%x", sum))
	}
	if sums[0] != sums[1] {
		t.Errorf("the sums differ: %q", sums)
	}
	f, err := os.Open(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for _, want := range files {
		h, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil || h.Name != "ivo-1/"+want.name || h.Mode != want.mode || string(data) != string(want.data) {
			t.Errorf("%s, %o, %q, %v", h.Name, h.Mode, data, err)
		}
	}
}

// All that is linked in has its licence in the archive: Go, llama.cpp and the modules.
func TestLicences(t *testing.T) {
	files, err := licences(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"licences/go/LICENSE", "licences/llama.cpp/LICENSE", "licences/github.com/ollama/ollama/LICENSE", "licences/github.com/klauspost/compress/LICENSE"} {
		if !slices.ContainsFunc(files, func(f file) bool { return f.name == want && len(f.data) > 500 }) {
			t.Errorf("%s is not there", want)
		}
	}
}
