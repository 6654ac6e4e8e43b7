package llama

import (
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

const keyPre = "tokenizer.ggml.pre"

const hintOtherRule = "or name another rule with {override}, such as default or qwen2, whose tokens may not be those that the model knows"

func hintPretokenizer() string { return hintNewer() + "; " + hintOtherRule }

// Pretokenizers are the names that tokenizer.ggml.pre may hold of a BPE vocabulary, sorted;
// nil with a system's llama.cpp, which does not tell.
func Pretokenizers() []string { return slices.Clone(pretokenizers) }

// Tokenizers are the names that tokenizer.ggml.model may hold, sorted; nil with a system's llama.cpp.
func Tokenizers() []string { return slices.Clone(tokenizers) }

// pretokenizer is what stands in for the pre-tokenizer that the file names, "" where its own
// serves. llama.cpp would take its default for one that is missing, and the embedded one for
// any that it does not know: the model would read other tokens than it was trained on.
func (p *ModelParams) pretokenizer(f *gguf.File) (string, error) {
	known := func(name string) bool { return pretokenizers == nil || slices.Contains(pretokenizers, name) }
	other, own := p.Pretokenizer, f.Str(keyPre)
	switch {
	case len(other) > 127 || strings.ContainsRune(other, 0) || other != "" && !known(other):
		return "", refuse("name another, such as default", "this llama.cpp knows no pre-tokenizer %.40q", other)
	case f.Str("tokenizer.ggml.model") != "gpt2": // no other kind of vocabulary has one
		return "", nil
	case own != "" && known(own):
		return "", nil
	case other != "":
		return other, nil
	case own == "":
		return "", refuse("get a newer file of the model, "+hintOtherRule, "%s is missing: by which rule texts are cut into tokens is not known", keyPre)
	}
	return "", refuse(hintPretokenizer(), "%s is %.80q, a rule of cutting texts into tokens that %s does not know", keyPre, own, Build())
}

// unknownPretokenizer says whether an error of llama.cpp is about a pre-tokenizer that it
// does not know. (The embedded one has no such error.)
func unknownPretokenizer(msg string) bool { return strings.Contains(msg, "unknown pre-tokenizer") }
