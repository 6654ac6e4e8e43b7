module github.com/ivo-decoding/ivo

go 1.25.0

require github.com/ollama/ollama v0.17.4

require (
	github.com/cespare/xxhash/v2 v2.3.0
	github.com/klauspost/compress v1.20.3
	pgregory.net/rapid v1.3.0
)

require github.com/goccy/go-yaml v1.19.2 // indirect
