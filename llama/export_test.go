package llama

import (
	"testing"
	"time"
)

// RPCPatience has a test wait for a server for so long.
func RPCPatience(t *testing.T, d time.Duration) {
	before := rpcPatience
	rpcPatience = d
	t.Cleanup(func() { rpcPatience = before })
}

// Tiles lets batches be decoded in parts as if llama.cpp's flash attention computed tiles.
func Tiles(on bool) { tiles = on || tiled }

// Prunes says whether a sound grammar has alternatives that stand for no text.
func Prunes(text string) bool {
	g, err := parseGBNF(text, "")
	if err != nil {
		return false
	}
	pruned, _ := g.prune("root")
	return pruned
}
