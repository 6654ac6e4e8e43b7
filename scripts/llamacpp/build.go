package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/gofrs/flock"

	"github.com/ivo-decoding/ivo/internal/pinned"
)

// builder builds a release in the cache.
type builder struct {
	pin     pinned.Release
	archive string // address of upstream's archive, "" for the pin's
	cache   string // folder of all builds

	release                             string // the pin's tag, or a folder
	from                                string // where the tree is, "" for the network
	shared, cuda, vulkan, rpc, portable bool
	jobs                                int
	log                                 io.Writer
}

// build is the folder of the build: lib, with pkgconfig/llama.pc; include; and share with the
// licence, the vocabularies and the templates. It is there whole or not at all.
func (b *builder) build(ctx context.Context) (string, error) {
	own := b.release != b.pin.Tag
	if own {
		if !isDir(b.release) {
			return "", fmt.Errorf("%q is no release that is known here (give LLAMA=%s, or LLAMA=FOLDER with llama.cpp's tree)", b.release, b.pin.Tag)
		}
	}
	if own && b.from != "" {
		return "", errors.New("two sources of llama.cpp (a folder of your own is built as it is: leave out LLAMA_SOURCE)")
	}
	if b.portable && b.shared {
		return "", errors.New("shared libraries come in all variants of the CPU already (leave out ARCH=portable, or SHARED=1)")
	}
	if prefix := b.prefix(ctx, b.pin.SourceSum); !own && isDir(prefix) {
		return prefix, nil
	}
	if err := os.MkdirAll(b.cache, 0o755); err != nil {
		return "", full(err)
	}
	lock := flock.New(filepath.Join(b.cache, ".lock"))
	if err := lock.Lock(); err != nil { // another one may be building the same
		return "", err
	}
	defer lock.Unlock()

	sum := b.pin.SourceSum
	work := filepath.Join(b.cache, ".building")
	source := filepath.Join(work, "llama.cpp")
	if err := os.RemoveAll(work); err != nil { // what a killed build has left
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.Mkdir(work, 0o755); err != nil {
		return "", full(err)
	}
	if own { // what it holds decides whether it is built already
		err := takeFolder(b.release, source)
		if err == nil {
			sum, err = sumTree(source)
		}
		if err != nil {
			return "", err
		}
	}
	prefix := b.prefix(ctx, sum)
	if isDir(prefix) {
		return prefix, nil
	}
	if err := needed(); err != nil {
		return "", err
	}
	if !own {
		if err := b.fetch(ctx, source); err != nil {
			return "", err
		}
	}
	staged := filepath.Join(work, "prefix")
	if err := b.compile(ctx, source, filepath.Join(work, "build"), prefix); err != nil {
		return "", err
	}
	if err := b.collect(source, filepath.Join(work, "build"), staged, prefix); err != nil {
		return "", full(err)
	}
	return prefix, os.Rename(staged, prefix)
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}

// needed says what is missing of the programs that a build takes.
func needed() error {
	for _, p := range []struct{ name, install string }{
		{"cmake", "install cmake and a C++ compiler, as with apt-get install cmake g++"},
		{pkgConfig(), "install it, as with apt-get install pkg-config; cgo finds llama.cpp by it"},
	} {
		if _, err := exec.LookPath(p.name); err != nil {
			return fmt.Errorf("no %s was found (%s; without LLAMA= the embedded copy is built, which needs neither)", p.name, p.install)
		}
	}
	return nil
}

func pkgConfig() string {
	if p := os.Getenv("PKG_CONFIG"); p != "" {
		return p
	}
	return "pkg-config"
}

// isShared says whether libraries are built that are found at run time: upstream's backends for
// GPUs link with much that a static library does not name.
func (b *builder) isShared() bool { return b.shared || b.cuda || b.vulkan }

// kind tells builds of one release apart.
func (b *builder) kind() string {
	kind := "native"
	switch {
	case b.shared:
		kind = "shared"
	case b.portable:
		kind = "portable"
	}
	if b.cuda {
		kind += ".cuda"
	}
	if b.vulkan {
		kind += ".vulkan"
	}
	if b.rpc {
		kind += ".rpc"
	}
	return kind
}

// prefix is the build's folder, as in b11434.native.1a2b3c4d: Go compiles and links again where it changes
// (see environment), so all that goes into a build is in its sum. It holds nothing that cgo would not take in a macro.
func (b *builder) prefix(ctx context.Context, sum string) string {
	h := sha256.New()
	fmt.Fprintln(h, 1, sum, b.options(""), runtime.GOOS, runtime.GOARCH)
	cxx, _ := exec.CommandContext(ctx, compiler(), "--version").Output()
	h.Write(cxx)
	if !b.shared && !b.portable {
		h.Write(processor(ctx))
	}
	tag := b.pin.Tag
	if b.release != tag {
		tag = "own"
	}
	return filepath.Join(b.cache, fmt.Sprintf("%s.%s.%x", tag, b.kind(), h.Sum(nil)[:4]))
}

func compiler() string {
	if c := os.Getenv("CXX"); c != "" {
		return c
	}
	return "c++"
}

// processor is what a native build depends on.
func processor(ctx context.Context) []byte {
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		return slices.Concat(regexp.MustCompile(`(?m)^(model name|flags|Features|CPU part)\s*:.*$`).FindAll(first(text), -1)...)
	}
	out, _ := exec.CommandContext(ctx, "sysctl", "-n", "machdep.cpu.brand_string", "machdep.cpu.features", "machdep.cpu.leaf7_features").Output()
	return out
}

// first is the part of /proc/cpuinfo that is about the first processor.
func first(cpuinfo []byte) []byte {
	one, _, _ := bytes.Cut(cpuinfo, []byte("\n\n"))
	return one
}

// options are cmake's, for a build whose libraries will lie in lib.
func (b *builder) options(lib string) []string {
	on := func(v bool) string {
		if v {
			return "ON"
		}
		return "OFF"
	}
	origin := "$ORIGIN"
	if runtime.GOOS == "darwin" {
		origin = "@loader_path"
	}
	options := []string{
		"-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_POSITION_INDEPENDENT_CODE=ON",
		"-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", "-DCMAKE_INSTALL_RPATH=" + origin,
		"-DBUILD_SHARED_LIBS=" + on(b.isShared()),
		"-DGGML_NATIVE=" + on(!b.shared && !b.portable), "-DGGML_BACKEND_DL=" + on(b.shared), "-DGGML_CPU_ALL_VARIANTS=" + on(b.shared),
		"-DGGML_OPENMP=OFF", // ivo brings ggml's own threads
		"-DGGML_CUDA=" + on(b.cuda), "-DGGML_VULKAN=" + on(b.vulkan),
		"-DLLAMA_BUILD_COMMON=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_TOOLS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_SERVER=OFF", "-DLLAMA_BUILD_APP=OFF",
		"-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_COMMIT=" + b.pin.Tag, "-DLLAMA_BUILD_NUMBER=" + strings.TrimPrefix(b.pin.Tag, "b"),
	}
	if b.shared {
		options = append(options, "-DGGML_BACKEND_DIR="+lib)
	}
	if b.rpc {
		options = append(options, "-DGGML_RPC=ON", "-DGGML_RPC_RDMA=OFF")
	}
	return options
}

// compile runs cmake. Its words go into a file, the last of them into an error.
func (b *builder) compile(ctx context.Context, source, dir, prefix string) error {
	path := filepath.Join(b.cache, "build.log")
	log, err := os.Create(path)
	if err != nil {
		return full(err)
	}
	defer log.Close()
	fmt.Fprintf(b.log, "building llama.cpp %s (%s), once: minutes; its words go to %s\n", b.release, b.kind(), path)
	configure := append([]string{"-S", source, "-B", dir}, b.options(filepath.Join(prefix, "lib"))...)
	if _, err := exec.LookPath("ninja"); err == nil {
		configure = append(configure, "-G", "Ninja")
	}
	for _, args := range [][]string{configure, {"--build", dir, "--config", "Release", "--parallel", strconv.Itoa(max(1, b.jobs))}} {
		cmd := exec.CommandContext(ctx, "cmake", args...)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // its compilers end with it
		cmd.Stdout, cmd.Stderr = log, log
		if err := cmd.Run(); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			text, _ := os.ReadFile(path)
			if bytes.Contains(text, []byte("No space left on device")) {
				return errNoSpace
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			return fmt.Errorf("cmake: %v (all of it is in %s):\n%s", err, path, strings.Join(lines[max(0, len(lines)-20):], "\n"))
		}
	}
	return nil
}

var errNoSpace = errors.New("no space left on the cache's disk: a build takes about half a gigabyte (make room, or set IVO_CACHE to a folder on another disk)")

// full makes a full disk known by name.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return errNoSpace
	}
	return err
}

// collect puts the libraries, headers and the rest where they are used from.
func (b *builder) collect(source, build, staged, prefix string) error {
	lib := filepath.Join(staged, "lib")
	if err := os.MkdirAll(filepath.Join(lib, "pkgconfig"), 0o755); err != nil {
		return err
	}
	names, err := b.libraries(build, lib)
	if err != nil {
		return err
	}
	for _, headers := range []string{filepath.Join("include", "*.h"), filepath.Join("ggml", "include", "*.h")} {
		if err := takeAll(filepath.Join(source, headers), filepath.Join(staged, "include")); err != nil {
			return err
		}
	}
	share := filepath.Join(staged, "share")
	if err := os.MkdirAll(share, 0o755); err != nil {
		return err
	}
	for _, kept := range []string{"LICENSE", "licenses", "models"} {
		if err := os.Rename(filepath.Join(source, kept), filepath.Join(share, kept)); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	return os.WriteFile(filepath.Join(lib, "pkgconfig", "llama.pc"), []byte(b.describe(prefix, names)), 0o644)
}

// libraries takes the libraries of a build and names those that a program links with.
func (b *builder) libraries(build, lib string) (names []string, err error) {
	if b.isShared() {
		if err := takeAll(filepath.Join(build, "bin", "*"), lib); err != nil {
			return nil, err
		}
		return []string{"llama", "ggml", "ggml-base"}, nil
	}
	for _, dir := range []string{"src", filepath.Join("ggml", "src"), filepath.Join("ggml", "src", "*")} {
		if err := takeAll(filepath.Join(build, dir, "*.a"), lib); err != nil {
			return nil, err
		}
	}
	found, err := filepath.Glob(filepath.Join(lib, "libggml-*.a"))
	if err != nil {
		return nil, err
	}
	names = []string{"llama", "ggml"}
	for _, p := range found { // the backends, before what they stand on
		if name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(p), "lib"), ".a"); name != "ggml-base" {
			names = append(names, name)
		}
	}
	return append(names, "ggml-base"), nil
}

// takeAll moves the files that match a pattern into a folder, links as they are.
func takeAll(pattern, to string) error {
	paths, err := filepath.Glob(pattern)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, p := range paths {
		if st, err := os.Lstat(p); err != nil || st.IsDir() {
			continue
		}
		if err := os.Rename(p, filepath.Join(to, filepath.Base(p))); err != nil {
			return err
		}
	}
	return nil
}

// describe is the llama.pc by which cgo finds the build. Upstream's own names the libraries in
// an order that a static link does not resolve, and not the backends.
func (b *builder) describe(prefix string, names []string) string {
	libs := "-L${libdir}"
	flags := "-I${prefix}/include " + named(prefix)
	if b.isShared() {
		libs += " -Wl,-rpath,${libdir}"
	} else {
		flags += " -DIVO_LLAMA_STATIC"
	}
	for _, n := range names {
		libs += " -l" + n
	}
	switch {
	case runtime.GOOS == "darwin":
		libs += " -lc++ -framework Foundation -framework Metal -framework MetalKit -framework Accelerate"
	case !b.isShared():
		libs += " -lstdc++ -lm -lpthread -ldl"
	}
	return "prefix=" + prefix + "\nlibdir=${prefix}/lib\n\nName: llama\nDescription: llama.cpp " + b.release + " as ivo builds it\nVersion: " +
		strings.TrimPrefix(b.pin.Tag, "b") + "\nLibs: " + libs + "\nCflags: " + flags + "\n"
}
