package train_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama/train"
)

// A model of four tokens learns to count, and becomes a file that llama.cpp loads.
func ExampleRun() {
	var docs []train.Doc
	for start := range int32(4) {
		var d train.Doc
		for i := range int32(8) {
			d.Tokens = append(d.Tokens, (start+i)%4)
		}
		docs = append(docs, d)
	}
	ctx, cfg := context.Background(), train.Config{Vocab: 4, Width: 16, Layers: 1, Heads: 2, FF: 32, Context: 8}
	model, err := train.Run(ctx, cfg, train.Options{Steps: 200, BatchTokens: 32, LR: 0.01, Workers: 1}, docs, nil)
	if err != nil {
		log.Fatal(err)
	}
	loss, err := model.Loss(ctx, docs, 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.1f nats a token; a guess takes 1.4\n", loss)

	dir, err := os.MkdirTemp("", "train")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "counts.gguf")
	if err := model.WriteGGUF(path, nil); err != nil {
		log.Fatal(err)
	}
	f, err := gguf.Read(path)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Str("general.architecture"), len(f.Tensors), "tensors")
	// Output:
	// 0.0 nats a token; a guess takes 1.4
	// llama 12 tensors
}
