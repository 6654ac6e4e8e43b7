// Command llamacpp builds a release of llama.cpp in ivo's cache, once, and runs a command that
// links ivo with it in the place of the embedded copy:
//
//	go run ./scripts/llamacpp                                  build it, and say where it is
//	go run ./scripts/llamacpp go build -o bin/ivo ./cli/ivo    and link with it
//	go run ./scripts/llamacpp -release ~/src/llama.cpp ...     a folder of one's own, as it is
//
// The release is the one that package pinned names. Nothing of it becomes part of the repository.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/ivo-decoding/ivo/internal/cachedir"
	"github.com/ivo-decoding/ivo/internal/pinned"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	b := builder{pin: pinned.LlamaCpp, log: os.Stderr}
	flag.StringVar(&b.release, "release", b.pin.Tag, "release to build: "+b.pin.Tag+", or a `FOLDER` with a llama.cpp of your own, which is built as it is")
	flag.StringVar(&b.from, "from", "", "take the release from this `FOLDER` or .tar.gz file, and not from the network")
	flag.BoolVar(&b.shared, "shared", false, "build shared libraries with all variants of the CPU backend, of which the one that fits is taken at run time")
	flag.BoolVar(&b.cuda, "cuda", false, "build with CUDA (shared libraries)")
	flag.BoolVar(&b.vulkan, "vulkan", false, "build with Vulkan (shared libraries)")
	flag.BoolVar(&b.rpc, "rpc", false, "build llama.cpp's RPC backend too, which offloads to other machines")
	flag.BoolVar(&b.portable, "portable", false, "build for all machines of this kind (x86-64: with AVX2, FMA and F16C), not for this one alone")
	flag.IntVar(&b.jobs, "j", runtime.NumCPU(), "compile so many files at once")
	flag.Parse()
	if err := run(ctx, &b, flag.Args()); err != nil {
		stop()
		if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() > 0 { // of the command itself, which has said why
			os.Exit(exit.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "llama.cpp:", err)
		os.Exit(1)
	}
}

// run builds what is not built yet, and runs the command, if there is one.
func run(ctx context.Context, b *builder, command []string) (err error) {
	if b.cache, err = cachedir.Path("llama.cpp"); err != nil {
		return err
	}
	prefix, err := b.build(ctx)
	if err != nil {
		return err
	}
	if len(command) == 0 {
		fmt.Println(prefix)
		return nil
	}
	cmd := exec.Command(command[0], command[1:]...) // an interrupt reaches it from the terminal
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), environment(prefix)...)
	return cmd.Run()
}

// environment is what makes go link with the build at prefix.
func environment(prefix string) []string {
	return []string{
		"PKG_CONFIG_PATH=" + joined(string(filepath.ListSeparator), filepath.Join(prefix, "lib", "pkgconfig"), os.Getenv("PKG_CONFIG_PATH")),
		"GOFLAGS=" + joined(" ", os.Getenv("GOFLAGS"), "-tags=llama_system"),
		// What pkg-config says is no part of what Go keeps compiled packages by, and this is: it says the same once more.
		"CGO_CPPFLAGS=" + joined(" ", os.Getenv("CGO_CPPFLAGS"), named(prefix)),
		"IVO_LLAMA_CPP=" + prefix, // where tests find the release's headers, vocabularies and templates
	}
}

// named tells ivo which build it is linked with.
func named(prefix string) string { return "-DIVO_LLAMA_CPP=" + filepath.Base(prefix) }

// joined joins what is not empty.
func joined(separator string, parts ...string) string {
	var full []string
	for _, p := range parts {
		if p != "" {
			full = append(full, p)
		}
	}
	return strings.Join(full, separator)
}
