// Command dist packs ivo for people who have no compiler: an archive for each system that this
// machine can build for, with the program, the licences of all that is linked in, and what it is made of (see
// scripts/sbom), which also lies beside it, and a file of checksums. The programs are linked statically: they need nothing of the system that they run on.
//
//	go run ./scripts/dist -out dist
//
// Run by scripts/llamacpp it packs programs with the llama.cpp that is built there (make dist
// LLAMA=TAG ARCH=portable).
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// target is a kind of machine that a program is built for.
type target struct {
	arch  string
	flags string   // of the C compilers
	tools []string // C and C++ compilers, where this machine is of another kind
	cpu   string   // what the machine has to have, for people
}

const ivo = "github.com/ivo-decoding/ivo/cli/ivo"

var targets = []target{
	{"amd64", "-O3 -march=x86-64-v3", []string{"x86_64-linux-gnu-gcc", "x86_64-linux-gnu-g++"}, "an x86-64 processor with AVX2 and FMA (most since 2013)"},
	{"arm64", "-O3", []string{"aarch64-linux-gnu-gcc", "aarch64-linux-gnu-g++"}, "a 64-bit ARM processor"},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	out := flag.String("out", "dist", "`FOLDER` of the archives")
	only := flag.String("arch", "", "build for this `ARCHITECTURE` alone; else for all that this machine has compilers for")
	flag.Parse()
	if err := run(ctx, *out, *only); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out, only string) error {
	if runtime.GOOS != "linux" {
		return errors.New("static programs are built on Linux (run make dist there)")
	}
	if other := os.Getenv(otherLlama); other != "" && !strings.Contains(filepath.Base(other), ".portable.") {
		return fmt.Errorf("%s is not for other machines (make dist LLAMA=TAG ARCH=portable)", other)
	}
	version, err := describe(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "ivo-dist")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var sums []string
	for _, t := range targets {
		if only != "" && only != t.arch {
			continue
		}
		env, err := t.environment()
		if err != nil {
			fmt.Fprintf(os.Stderr, "dist: not for %s: %v\n", t.arch, err)
			continue
		}
		name := fmt.Sprintf("ivo-%s-linux-%s", version, t.arch)
		fmt.Fprintf(os.Stderr, "building %s\n", name)
		program := filepath.Join(work, t.arch)
		build := exec.CommandContext(ctx, "go", "build", "-tags", tags(), "-ldflags", "-s -w -linkmode external -extldflags=-static", "-o", program, ivo)
		build.Env, build.Stdout, build.Stderr = append(os.Environ(), env...), os.Stderr, os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("%s: %w (see above)", name, err)
		}
		files, err := contents(ctx, env, program, t.cpu)
		if err != nil {
			return err
		}
		parts, err := describeParts(ctx, program, version, filepath.Join(out, name+".cdx.json"))
		if err != nil {
			return err
		}
		files = append(files, file{"ivo.cdx.json", 0o644, parts})
		sum, err := pack(filepath.Join(out, name+".tar.gz"), name, files)
		if err != nil {
			return err
		}
		sums = append(sums, fmt.Sprintf("%x  %s.tar.gz\n", sum, name), fmt.Sprintf("%x  %s.cdx.json\n", sha256.Sum256(parts), name))
		fmt.Println(filepath.Join(out, name+".tar.gz"))
	}
	if len(sums) == 0 {
		return fmt.Errorf("nothing was built for %q", cmp.Or(only, "any machine"))
	}
	return atomicfile.WriteBytes(filepath.Join(out, "SHA256SUMS"), []byte(strings.Join(sums, "")))
}

// otherLlama is where scripts/llamacpp says that another llama.cpp is.
const otherLlama = "IVO_LLAMA_CPP"

// tags are those of the build. A command line's replace those of the environment.
func tags() string {
	own := "netgo,osusergo" // what a static program cannot ask the system's library for
	if os.Getenv(otherLlama) != "" {
		own += ",llama_system"
	}
	return own
}

// describeParts has scripts/sbom list what a program is made of, in a file that it returns.
func describeParts(ctx context.Context, program, version, out string) ([]byte, error) {
	list := exec.CommandContext(ctx, "go", "run", "-tags", tags(), "./scripts/sbom", "-program", program, "-version", version, "-out", out)
	list.Stdout, list.Stderr = os.Stdout, os.Stderr
	if err := list.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w (see above)", out, err)
	}
	return os.ReadFile(out)
}

// describe is the version: the newest tag and what came after it.
func describe(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty").Output()
	if err != nil {
		return "", fmt.Errorf("git describe: %w (run it in a clone of the repository)", err)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), nil
}

// environment is what the build is run with.
func (t target) environment() ([]string, error) {
	env := []string{"CGO_ENABLED=1", "GOOS=linux", "GOARCH=" + t.arch, "CGO_CFLAGS=" + t.flags, "CGO_CXXFLAGS=" + t.flags}
	if t.arch == runtime.GOARCH {
		return env, nil
	}
	if os.Getenv(otherLlama) != "" {
		return nil, errors.New("the llama.cpp that is linked is built for this machine's kind")
	}
	for _, tool := range t.tools {
		if _, err := exec.LookPath(tool); err != nil {
			return nil, fmt.Errorf("no %s was found (apt-get install g++-%s)", tool, strings.TrimSuffix(t.tools[0], "-gcc"))
		}
	}
	return append(env, "CC="+t.tools[0], "CXX="+t.tools[1]), nil
}

// file is one of an archive.
type file struct {
	name string // within the archive's folder
	mode int64
	data []byte
}

// contents are the files of an archive.
func contents(ctx context.Context, env []string, program, cpu string) ([]file, error) {
	files := []file{{"README", 0o644, []byte(readme(cpu))}}
	for name, from := range map[string]string{"ivo": program, "LICENSE": "LICENSE", "CHANGELOG.md": "CHANGELOG.md", "licences/NOTICES": "third_party/NOTICES"} {
		data, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		mode := int64(0o644)
		if name == "ivo" {
			mode = 0o755
		}
		files = append(files, file{name, mode, data})
	}
	licences, err := licences(ctx, env)
	files = append(files, licences...)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return files, err
}

func readme(cpu string) string {
	return `ivo: value-guided decoding for local models

The program needs nothing but ` + cpu + ` and Linux.

  ./ivo doctor                                  what this machine can compute on
  ./ivo models                                  models that are here already
  ./ivo generate -m model.gguf -p "Once upon a time"
  ./ivo generate -hf USER/REPO -p "Once upon a time"      downloads the model, once (needs the system's
                                                          certificates: apt-get install ca-certificates)
  ./ivo help

Licences of all that is linked in are in the folder licences; ivo.cdx.json lists it (CycloneDX).
`
}

// licences are those of every module that is linked in, of Go, and of llama.cpp.
func licences(ctx context.Context, env []string) (files []file, err error) {
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Module", ivo)
	list.Env, list.Stderr = append(os.Environ(), env...), os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	dirs := map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			Module *struct {
				Path, Version, Dir string
				Main               bool
			}
		}
		if err := dec.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		if m := p.Module; m != nil && !m.Main {
			dirs[m.Path] = m.Dir
		}
	}
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return nil, err
	}
	dirs["go"] = strings.TrimSpace(string(goroot))
	if prefix := os.Getenv(otherLlama); prefix != "" {
		dirs["llama.cpp"] = filepath.Join(prefix, "share")
	} else {
		dirs["llama.cpp"] = filepath.Join(dirs["github.com/ollama/ollama"], "llama", "llama.cpp")
	}
	for name, dir := range dirs {
		found := false
		for _, pattern := range []string{"LICEN[CS]E*", "COPYING*", "NOTICE*", filepath.Join("licenses", "*")} {
			paths, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil {
				return nil, err
			}
			for _, p := range paths {
				st, err := os.Stat(p)
				if err != nil || st.IsDir() {
					continue
				}
				data, err := os.ReadFile(p)
				if err != nil {
					return nil, err
				}
				found = true
				files = append(files, file{path.Join("licences", name, filepath.Base(p)), 0o644, data})
			}
		}
		if !found {
			return nil, fmt.Errorf("%s has no licence in %s (it may not be given on without one)", name, dir)
		}
	}
	return files, nil
}

// pack writes an archive, whose bytes depend on the files alone, and gives its SHA-256.
func pack(to, folder string, files []file) (sum []byte, err error) {
	h := sha256.New()
	err = atomicfile.Write(to, func(w io.Writer) error {
		z, err := gzip.NewWriterLevel(io.MultiWriter(w, h), gzip.BestCompression)
		if err != nil {
			return err
		}
		t := tar.NewWriter(z)
		for _, f := range files {
			if err := t.WriteHeader(&tar.Header{Name: path.Join(folder, f.name), Typeflag: tar.TypeReg, Mode: f.mode, Size: int64(len(f.data)), ModTime: time.Unix(0, 0)}); err != nil {
				return err
			}
			if _, err := t.Write(f.data); err != nil {
				return err
			}
		}
		return errors.Join(t.Close(), z.Close())
	})
	return h.Sum(nil), err
}
