//go:build llama_system

package llama

// A system's llama.cpp may be of any age: what its architectures take for granted is not
// known.
var (
	divisors, needed map[string][]string
	noMemory         []string
	unreadable       map[string]string
	tokenizers       []string // loading fails for those that it does not know
	pretokenizers    []string // and for these
)

func hasHeads(string) bool { return false }

func maxDims(string) int { return 4 }

// checkSaved leaves the bytes of a saved sequence to llama.cpp: how it writes them is not known.
func (c *Context) checkSaved([]byte, int) error { return nil }
