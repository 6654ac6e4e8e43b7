//go:build !llama_system

package llama

// #cgo linux LDFLAGS: -Wl,--wrap=ggml_backend_free
import "C"

// The embedded llama.cpp: the blank import links llama.cpp, ggml and its CPU
// backend (and Metal on macOS) out of the Go module, so go build is the whole build.
import _ "github.com/ollama/ollama/llama/llama.cpp/src"

// tiled says whether flash attention on the CPU computes tiles, see parts.go.
const tiled = false

func build() string {
	return "embedded llama.cpp ec98e2002 (module github.com/ollama/ollama v0.17.4)"
}
