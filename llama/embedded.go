//go:build !llama_system

package llama

// #cgo linux LDFLAGS: -Wl,--wrap=ggml_backend_free
// #ifdef __clang__
// static const char *ivo_compiler(void) { return __VERSION__; }
// #else
// static const char *ivo_compiler(void) { return "gcc " __VERSION__; }
// #endif
import "C"

// The embedded llama.cpp: the blank import links llama.cpp, ggml and its CPU
// backend (and Metal on macOS) out of the Go module, so go build is the whole build.
import _ "github.com/ollama/ollama/llama/llama.cpp/src"

// tiled says whether flash attention on the CPU computes tiles, see parts.go.
const tiled = false

func build() string {
	return "embedded llama.cpp ec98e2002 (module github.com/ollama/ollama v0.17.4)"
}

// compiler is what the embedded copy was compiled by, in the same build as this file.
func compiler() string { return C.GoString(C.ivo_compiler()) }
