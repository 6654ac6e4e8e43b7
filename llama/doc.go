// Package llama binds llama.cpp for programs that decode in their own way: it gives the
// logits, the hidden states of any layer and cheap copies of sequences, in process.
//
// # Two ways in
//
// By default llama.cpp is linked from a Go module, and go build is the whole build; speed
// wants compiler flags (CGO_CFLAGS and CGO_CXXFLAGS, which make sets). With the build tag
// llama_system the library that pkg-config finds is used instead: Homebrew's, Debian's or
// one's own with CUDA, Vulkan or the newest architectures. [Build] says which one is
// linked, [Devices] what it can compute on. The package is the same in both.
//
// # Models
//
// [Load] reads a GGUF file, whole or split into several, after checking its header in Go:
// llama.cpp ends the process on much that a damaged file can hold. A [Model] has the
// weights and the vocabulary and may be used by many goroutines. [Model.Info] describes
// it, [Model.Metadata] is the file's header, and [Model.Fingerprint] tells two models
// apart. [Quantize] writes a model in another storage format, and [Model.Embeddings] reads
// the embeddings of its tokens.
//
// # Text and tokens
//
// [Model.Tokenize] turns text into token ids and [Model.Detokenize] turns them back;
// [Model.Piece] is the text of one token, which may be a part of a UTF-8 character.
// [Model.RenderChat] formats a chat by the model's own template, also where llama.cpp does
// not know it.
//
// # Decoding
//
// A [Context] holds the KV cache of up to [ContextParams].Sequences sequences and belongs
// to one goroutine at a time. [Context.Add] puts tokens of any of them into a batch, each
// with its position and whether its output is wanted, and [Context.Decode] computes the
// batch. The call crosses to C once. For each token with output, [Context.Row] then gives
// the logits, the hidden states that were asked for, the likeliest tokens in order and the
// sums that probabilities need. Logits and hidden states are views into C memory: nothing
// of a vocabulary's size is copied, and they are valid until the next Decode.
//
// # Sequences
//
// [Context.Fork] copies a sequence. With the default, unified cache the copy shares the
// cells of the original, so that a beam costs no more than its own tokens. [Context.Trim]
// and [Context.Drop] take tokens away, and [Context.Len] counts them.
// [Context.SaveSequence] returns a sequence as bytes that [Context.RestoreSequence] takes up
// in another context of the same model and build.
//
// # Hidden states
//
// [ContextParams].Layers chooses layers whose states every output row carries, side by
// side: 0 is the output of the first layer, and [ModelInfo].Layers the state after the
// final norm. They are copied out of the graph while it is computed, and cost next to
// nothing.
//
// # What changes a model
//
// [Model.LoadLoRA] and [Context.SetLoRA] apply low-rank adapters,
// [Context.SetControlVector] adds directions to the states, and [RopeParams] stretch the
// context. [Model.NewGrammar] gives masks over candidates, which keep a text within a
// grammar.
//
// # Errors
//
// Errors are [*Error] with a hint on what to do, or wrap one of the Err values of this
// package. Nothing here ends the process: ids, rows, sizes and files are checked before
// llama.cpp sees them. Using a model or context after Close is an error, and so are two
// goroutines in one context.
//
// The package is mechanism: it knows nothing of prompts, rewards or search. A method that
// wraps a C function names it, so that llama.h can be read beside it.
package llama
