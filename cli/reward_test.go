package cli

import (
	"math/rand/v2"
	"os"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/testcheckpoint"
)

// checkpoint MODEL SHARDS OUTPUTS FOLDER writes the checkpoint of a reward model with a random head, whose
// trunk is MODEL, as far as a head's import looks at it.
func checkpoint(ts *testscript.TestScript, _ bool, args []string) {
	model, err := gguf.Read(args[0])
	ts.Check(err)
	shards, err := strconv.Atoi(args[1])
	ts.Check(err)
	outputs, err := strconv.Atoi(args[2])
	ts.Check(err)
	norm, err := model.ReadF32("output_norm.weight")
	ts.Check(err)
	embeddings, _ := model.Tensor("token_embd.weight")
	width, vocabulary := len(norm), int(embeddings.Shape[1])
	rng := rand.New(rand.NewPCG(7, 7))
	folder := ts.MkAbs(args[3])
	ts.Check(os.MkdirAll(folder, 0o755))
	_, err = testcheckpoint.Write(folder, shards,
		map[string]any{"architectures": []string{"LlamaForSequenceClassification"}, "model_type": "llama", "hidden_size": width, "vocab_size": vocabulary},
		testcheckpoint.Random(rng, "BF16", "model.embed_tokens.weight", vocabulary, width),
		testcheckpoint.Tensor{Name: "model.norm.weight", Type: "F32", Shape: []int{width}, Values: norm},
		testcheckpoint.Random(rng, "BF16", "score.weight", outputs, width))
	ts.Check(err)
}
