package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"strings"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/scripts/lab/world"
)

// trainWeights are the weights of a document's parts in the training loss. The words
// of a prompt are mostly chance; predicting them teaches less than the response does.
var trainWeights = lossWeights{prompt: 0.3, response: 1, rest: 1}

// Echoes are mixed into the text of the world. The words they repeat cannot be
// predicted, only the repetition can.
var echoWeights = lossWeights{response: 1}

// texts are the first n documents as text.
func texts(docs iter.Seq[world.Document], n int) iter.Seq[string] {
	return func(yield func(string) bool) {
		i := 0
		for doc := range docs {
			if i == n || !yield(doc.Text()) {
				return
			}
			i++
		}
	}
}

// tokenise turns generated documents into training documents with llama.cpp's own
// tokenizer, leaving out those of reserved prompts. In held-out documents only the response counts.
func (r recipe) tokenise(ctx context.Context, vocab []gguf.KV, reserved map[string]bool) (corpus, heldOut []train.Doc, err error) {
	path := filepath.Join(r.work, r.name+"-tokenizer.gguf")
	tiny, err := train.New(train.Config{Vocab: vocabSize, Width: 2, Layers: 1, Heads: 1, FF: 1, Context: 1, Tied: true}, 0)
	if err != nil {
		return nil, nil, err
	}
	if err := tiny.WriteGGUF(path, vocab); err != nil {
		return nil, nil, err
	}
	m, err := llama.Load(path, llama.ModelParams{})
	if err != nil {
		return nil, nil, err
	}
	defer m.Close()
	seed := r.seed + seedsOfStage*r.stage
	nextEcho, stop := iter.Pull(world.Echoes(seed + echoSeed))
	defer stop()
	tokens, echoed := 0, 0
	for doc := range world.Documents(r.docs, world.Train, seed+corpusSeed) {
		if tokens >= r.tokens {
			break
		}
		if reserved[doc.Prompt] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		d, err := encode(m, doc, trainWeights)
		if err != nil {
			return nil, nil, err
		}
		corpus = append(corpus, d)
		tokens += len(d.Tokens)
		for float64(echoed) < r.echoes*float64(tokens) {
			doc, _ := nextEcho()
			d, err := encode(m, doc, echoWeights)
			if err != nil {
				return nil, nil, err
			}
			corpus = append(corpus, d)
			echoed += len(d.Tokens)
		}
	}
	for doc := range world.Documents(r.docs, world.Train, seed+heldOutSeed) {
		if len(heldOut) == r.heldOut {
			break
		}
		doc.Rest = ""
		d, err := encode(m, doc, lossWeights{response: 1})
		if err != nil {
			return nil, nil, err
		}
		heldOut = append(heldOut, d)
	}
	return corpus, heldOut, nil
}

// lossWeights are the weights of a document's parts.
type lossWeights struct{ prompt, response, rest float32 }

// encode tokenizes one document, with an end-of-sequence token, and weighs its parts.
func encode(m *llama.Model, doc world.Document, w lossWeights) (train.Doc, error) {
	var d train.Doc
	var text strings.Builder
	// add appends the next part of the text: the tokens that the text as a whole now
	// has more than before. Parts end where no token reaches over.
	add := func(part string, weight float32) error {
		text.WriteString(part)
		ids, err := m.Tokenize(text.String(), true, false)
		if err != nil {
			return err
		}
		for _, id := range ids[len(d.Tokens):] {
			d.Tokens = append(d.Tokens, id)
			d.Weights = append(d.Weights, weight)
		}
		return nil
	}
	err := errors.Join(add(doc.Prompt, w.prompt), add(" "+doc.Response+"\n", w.response), add(doc.Rest, w.rest))
	d.Tokens = append(d.Tokens, m.EOS())
	d.Weights = append(d.Weights, w.rest)
	return d, err
}

func tokensOf(docs []train.Doc) int {
	n := 0
	for _, d := range docs {
		n += len(d.Tokens)
	}
	return n
}

// fingerprint names everything that decides the finished model; before is the fingerprint of what it starts from.
func fingerprint(cfg train.Config, opts train.Options, vocab []gguf.KV, corpus []train.Doc, before string) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	enc.Encode(cfg)
	fmt.Fprintln(h, opts.Steps, opts.BatchTokens, opts.LR, opts.Seed)
	enc.Encode(vocab)
	enc.Encode(corpus)
	fmt.Fprint(h, before)
	return fmt.Sprintf("%x", h.Sum(nil)[:16])
}
