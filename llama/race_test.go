//go:build race

package llama_test

const raceDetector = true
