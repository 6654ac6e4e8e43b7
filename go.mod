module github.com/ivo-decoding/ivo

go 1.25.0

require github.com/ollama/ollama v0.17.4
