package llama

/*
#include "shim.h"
*/
import "C"

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/pinned"
)

// architectures are those that the linked llama.cpp knows, sorted.
var architectures = sync.OnceValue(func() (names []string) {
	for i := C.int32_t(0); ; i++ {
		name := C.ivo_architecture(i)
		if name == nil {
			break
		}
		names = append(names, C.GoString(name))
	}
	slices.Sort(names)
	// The last is that of what is not known; clip is the part of a model that reads pictures.
	return slices.DeleteFunc(names, func(name string) bool { return name == "(unknown)" || name == "clip" })
})

// Architectures are the models' architectures that the linked llama.cpp knows, sorted; nil with a
// system's library that does not tell.
func Architectures() []string { return slices.Clone(architectures()) }

// checkKnown is why the linked llama.cpp cannot load a model whatever its weights are: it does not know
// its architecture, or its tokenizer, or the rule by which that cuts texts. nil where it knows them, or
// does not tell before it loads.
func checkKnown(f *gguf.File) error {
	arch, kind := f.Str("general.architecture"), f.Str("tokenizer.ggml.model")
	return unknown(f, architectures() != nil && arch != "" && !slices.Contains(architectures(), arch), tokenizers != nil && kind != "" && !slices.Contains(tokenizers, kind))
}

// unknown is the error about an architecture or a tokenizer, nil if both are known.
func unknown(f *gguf.File, arch, tokenizer bool) error {
	names := fmt.Sprintf("architecture %.80q, tokenizer %.80q", f.Str("general.architecture"), cmp.Or(f.Str("tokenizer.ggml.model"), "none"))
	if pre := f.Str(keyPre); pre != "" {
		names += fmt.Sprintf(" cut by %.80q", pre)
	}
	what := ""
	switch {
	case arch && tokenizer:
		what = "neither of them"
	case arch:
		what = "no such architecture"
	case tokenizer:
		what = "no such tokenizer"
	default:
		return nil
	}
	return &Error{Op: "load", Path: f.Path, Err: fmt.Errorf("%s: %s knows %s", names, Build(), what), Hint: hintNewer() + "; {architectures} lists what this build knows"}
}

// hintNewer is how to come by a llama.cpp that knows more.
func hintNewer() string {
	if strings.Contains(Build(), pinned.LlamaCpp.Tag) {
		return "a newer llama.cpp may know it: make LLAMA=FOLDER builds ivo with the tree in FOLDER"
	}
	return fmt.Sprintf("a newer llama.cpp may know it: make LLAMA=%s builds ivo with one", pinned.LlamaCpp.Tag)
}

// unknownBy says what llama.cpp's error is about that it does not know.
func unknownBy(msg string) (arch, tokenizer bool) {
	return strings.Contains(msg, "unknown model architecture"), strings.Contains(msg, "unknown tokenizer")
}
