package lint

import (
	"go/ast"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// tokenizers are those who turn texts into tokens besides orchestrator/prompt, none of which
// is a prompt of a policy: llama itself, the translation of texts for a value model, a client's own texts in tokens, and the
// corpus that the lab's models learn from.
var tokenizers = []string{"llama/", "orchestrator/prompt/", "orchestrator/value/text.go", "orchestrator/serve/native.go", "scripts/lab/corpus.go"}

// TestPromptsAreEncodedInOnePlace holds that what a head learns on is what it is served on:
// prompts become tokens in package prompt and nowhere else.
func TestPromptsAreEncodedInOnePlace(t *testing.T) {
	seen := false
	for _, dir := range []string{"cli", "orchestrator", "scripts", "llama", "valuehead"} {
		eachNode(t, filepath.Join("../..", dir), func(path string, n ast.Node, at token.Position) {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "Tokenize" {
				return
			}
			for _, allowed := range tokenizers {
				if strings.HasPrefix(path, allowed) {
					seen = true
					return
				}
			}
			t.Errorf("%s:%d tokenizes (encode prompts with prompt.Encoder)", path, at.Line)
		})
	}
	if !seen {
		t.Error("found no call of Tokenize at all")
	}
}
