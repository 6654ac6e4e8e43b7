//go:build !linux

package llama_test

func limitMemory(uint64) {}

func peakMemory() int64 { return 0 }

func residentMemory() int64 { return 0 }
