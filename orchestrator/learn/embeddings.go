package learn

import (
	"context"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/fingerprint"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

// Embeddings opens the token embeddings of the model at path, which must be the one whose states
// the data are of.
func (d *Data) Embeddings(ctx context.Context, path string) (*llama.Embeddings, error) {
	schema, err := d.Schema()
	if err != nil {
		return nil, err
	}
	header, err := gguf.ReadModel(path)
	if err != nil {
		return nil, err
	}
	if err := checkBackbone(ctx, header, schema.Backbone); err != nil {
		return nil, err
	}
	return llama.EmbeddingsOf(header)
}

// checkBackbone finds that the weights of a model are not those of a backbone's fingerprint.
func checkBackbone(ctx context.Context, header *gguf.File, backbone string) error {
	backbone, _ = fingerprint.Split(backbone)
	own, err := fingerprint.Of(ctx, header, nil)
	if err == nil && !fingerprint.Same(own, backbone) {
		err = fault.New("train", "model", nil, "give {model} the one that the run was made with", "%s is model %s, the states are those of model %s", header.Path, own, backbone)
	}
	return err
}
