package tune_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/preference"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/tune"
)

// A model learns from one pair, at one setting: nothing is compared, so no reward is needed.
func ExampleRun() {
	m, err := llama.Load("../../testdata/lab/summarize-s.gguf", llama.ModelParams{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	encoder, err := prompt.NewEncoder(m, prompt.Options{})
	if err != nil {
		log.Fatal(err)
	}
	pairs, err := tune.OfTexts(m, encoder, []preference.Pair{{Prompt: prompt.Record{ID: "1", Text: "i found a red bell.\nTL;DR:"}, Chosen: " found red bell", Rejected: " lost it"}})
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "tune")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "dpo.gguf")
	r, err := tune.Run(context.Background(), tune.Options{Loss: tune.DPO, Epochs: 4}, tune.Work{Model: m, Encoder: encoder, Pairs: pairs, Dir: filepath.Join(dir, "kept"), Out: out})
	if err != nil {
		log.Fatal(err)
	}
	f, err := gguf.Read(out)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(r.Pairs, "pair;", f.Str(tune.ByKey))
	// Output: 1 pair; dpo, beta 0.1, lr 5e-05, step 4 of 4, seed 0
}
