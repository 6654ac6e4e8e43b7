package reward

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/hub"
	"github.com/ivo-decoding/ivo/orchestrator/reward/head"
)

// headed scores by a reward head and the model whose states it reads.
type headed struct {
	*head.Scorer
	model *llama.Model
	info  Info
}

// openHead makes "head:REWARD.gguf@MODEL.gguf".
func openHead(argument string, _ Options) (Model, error) {
	path, of := splitHead(argument)
	if path == "" || of == "" {
		return nil, badArgument("head", argument, "head:REWARD.gguf@MODEL.gguf")
	}
	h, err := head.Load(path)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New("", "reward", nil, "the file must stay as it is", "%w", err)
	}
	m, err := loadModel(of)
	if err != nil {
		return nil, err
	}
	fingerprint, err := m.Fingerprint()
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	s, err := head.NewScorer(h, m)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return headed{s, m, Info{
		Name: name("head", argument), Fingerprint: fmt.Sprintf("head 1 %s model %s", digest(content), fingerprint), Lo: math.Inf(-1), Hi: math.Inf(1), Prefixes: h.Prefixes,
	}}, nil
}

// loadModel loads a model by its file, or by its name if another program keeps it: ollama:MODEL, lmstudio:PUBLISHER/REPO.
func loadModel(name string) (*llama.Model, error) {
	file, err := hub.Source{Path: name}.Find(context.Background(), hub.Options{Offline: true})
	if err != nil {
		return nil, err
	}
	return llama.Load(file, llama.ModelParams{GPULayers: -1})
}

// splitHead parts a head's path from its model's, at the first @ that has a file before it, or at
// the last.
func splitHead(argument string) (path, of string) {
	for i := range argument {
		if argument[i] != '@' {
			continue
		}
		path, of = argument[:i], argument[i+1:]
		if st, err := os.Stat(path); err == nil && !st.IsDir() {
			break
		}
	}
	return strings.TrimSpace(path), strings.TrimSpace(of)
}

func (h headed) Info() Info { return h.info }

func (h headed) Score(ctx context.Context, items []Item) ([]Score, error) {
	return h.ask(ctx, items, h.Scorer.Score)
}

// Follow keeps what the model has read of responses that grow.
func (h headed) Follow(ctx context.Context, place any, items []Item) ([]Score, error) {
	return h.ask(ctx, items, func(ctx context.Context, answers []head.Answer) ([]head.Score, error) {
		return h.Scorer.Follow(ctx, place, answers)
	})
}

func (headed) ask(ctx context.Context, items []Item, score func(context.Context, []head.Answer) ([]head.Score, error)) ([]Score, error) {
	answers := make([]head.Answer, len(items))
	for i, it := range items {
		answers[i] = head.Answer{Prompt: it.Prompt, Response: it.Response}
	}
	said, err := score(ctx, answers)
	if err != nil {
		return nil, err
	}
	scores := make([]Score, len(said))
	for i, s := range said {
		scores[i] = Score(s)
	}
	return scores, nil
}

func (h headed) Close() error { return errors.Join(h.Scorer.Close(), h.model.Close()) }
