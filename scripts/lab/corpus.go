package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"iter"
	"path/filepath"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/scripts/lab/world"
)

// Weights of the parts of a document in the training loss. The prompt's words are
// mostly chance, and predicting them teaches less than the response does.
const (
	promptWeight   = 0.3
	responseWeight = 1
	gradeWeight    = 0.5
)

const heldOutDocs = 500

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
// tokenizer. In held-out documents only the response counts.
func (r recipe) tokenise(ctx context.Context, task world.Task, vocab []gguf.KV) (corpus, heldOut []train.Doc, err error) {
	path := filepath.Join(r.work, r.task+"-tokenizer.gguf")
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
	tokens := 0
	for doc := range world.Documents(task, world.Train, r.seed+corpusSeed) {
		if tokens >= r.tokens {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		d, err := encode(m, doc, [3]float32{promptWeight, responseWeight, gradeWeight})
		if err != nil {
			return nil, nil, err
		}
		corpus = append(corpus, d)
		tokens += len(d.Tokens)
	}
	for doc := range world.Documents(task, world.Train, r.seed+heldOutSeed) {
		if len(heldOut) == heldOutDocs {
			break
		}
		d, err := encode(m, doc, [3]float32{0, 1, 0})
		if err != nil {
			return nil, nil, err
		}
		heldOut = append(heldOut, d)
	}
	return corpus, heldOut, nil
}

// encode tokenizes one document, with an end-of-sequence token, and weighs its parts.
func encode(m *llama.Model, doc world.Document, weights [3]float32) (train.Doc, error) {
	var ends [2]int // of the prompt and of the response
	for i, text := range []string{doc.Prompt, doc.Prompt + " " + doc.Response + "\n"} {
		ids, err := m.Tokenize(text, true, false)
		if err != nil {
			return train.Doc{}, err
		}
		ends[i] = len(ids)
	}
	ids, err := m.Tokenize(doc.Text(), true, false)
	if err != nil {
		return train.Doc{}, err
	}
	d := train.Doc{Tokens: append(ids, m.EOS())}
	for i := range d.Tokens {
		part := 0
		for part < len(ends) && i >= ends[part] {
			part++
		}
		d.Weights = append(d.Weights, weights[part])
	}
	return d, nil
}

func tokensOf(docs []train.Doc) int {
	n := 0
	for _, d := range docs {
		n += len(d.Tokens)
	}
	return n
}

// fingerprint names everything that decides the finished model.
func fingerprint(cfg train.Config, opts train.Options, vocab []gguf.KV, corpus []train.Doc) string {
	h := sha256.New()
	enc := json.NewEncoder(h)
	enc.Encode(cfg)
	fmt.Fprintln(h, opts.Steps, opts.BatchTokens, opts.LR, opts.Seed)
	enc.Encode(vocab)
	enc.Encode(corpus)
	return fmt.Sprintf("%x", h.Sum(nil)[:16])
}
