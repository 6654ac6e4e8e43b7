package reward

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// classified scores by a model that llama.cpp itself gives a head of classes. A reranker, which has one
// class or a template for pairs, reads prompt and response, another classifier the response alone.
type classified struct {
	*llama.Classifier
	model    *llama.Model
	encoder  *prompt.Encoder
	class    int
	template string // of a reranker, with {query} and {document}; "" without
	info     Info

	reading sync.Mutex // the encoder is for one at a time
}

// openClassifier makes "cls:MODEL.gguf" and "cls:LABEL@MODEL.gguf".
func openClassifier(argument string, _ Options) (Model, error) {
	label, path := splitClass(argument)
	if path == "" {
		return nil, badArgument("cls", argument, "cls:MODEL.gguf, or cls:LABEL@MODEL.gguf for one of several classes")
	}
	m, err := loadModel(path)
	if err != nil {
		return nil, err
	}
	c, err := newClassified(m, label)
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	fingerprint, err := m.Fingerprint()
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.info.Name, c.info.Fingerprint = name("cls", argument), fmt.Sprintf("cls 1 %d %q %s", c.class, c.template, fingerprint)
	return c, nil
}

// splitClass parts a class's name from its model's path, which may have an @ in it where it has none.
func splitClass(argument string) (label, path string) {
	if _, err := os.Stat(argument); err != nil {
		if before, after, ok := strings.Cut(argument, "@"); ok {
			return before, after
		}
	}
	return "", argument
}

func newClassified(m *llama.Model, label string) (*classified, error) {
	c := &classified{model: m, template: m.Metadata().Str("tokenizer.chat_template.rerank")}
	var err error
	if c.encoder, err = prompt.NewEncoder(m, prompt.Options{}); err != nil {
		return nil, err
	}
	if c.Classifier, err = m.NewClassifier(llama.ClassifierParams{Tokens: min(cmp.Or(m.Info().ContextTrain, 512), 4096), Threads: engine.Threads(m)}); err != nil {
		return nil, err
	}
	labels := c.Labels()
	if label == "" && c.Softmax() {
		label = "yes" // what rerankers of the Qwen3 kind are asked for
	}
	c.info.Lo, c.info.Hi = 0, 1
	switch c.class = slices.Index(labels, label); {
	case len(labels) == 1:
		c.class, c.info.Lo, c.info.Hi = 0, math.Inf(-1), math.Inf(1)
	case c.class < 0:
		return nil, errors.Join(fault.New("", "reward", labels, "give {reward} as cls:LABEL@MODEL.gguf, with one of them", "%s knows the classes %s", m.Path(), strings.Join(labels, ", ")), c.Classifier.Close())
	}
	if types, ok := m.Metadata().Tensor("token_types.weight"); ok && c.pairs() && len(types.Shape) > 1 && types.Shape[1] > 1 {
		slog.Warn("the reranker was trained to tell prompt and response apart by their kind; llama.cpp takes both for the first kind, so that its scores differ from the original's", "model", m.Path())
	}
	return c, nil
}

// pairs says whether prompt and response are read, as rerankers do.
func (c *classified) pairs() bool { return c.template != "" || len(c.Labels()) == 1 }

func (c *classified) Info() Info { return c.info }

// tokens are what the classifier reads of an item.
func (c *classified) tokens(it Item) (tokens []int32, err error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	query := it.Prompt.Text
	for i, m := range it.Prompt.Messages {
		if i > 0 {
			query += "\n"
		}
		query += m.Content
	}
	switch {
	case c.template != "":
		tokens, err = c.encoder.Fill(c.template, map[string]string{"{query}": query, "{document}": it.Response})
	case c.pairs():
		// RoBERTa's kin were trained with the end of a text twice between two.
		tokens, err = c.encoder.Pair(query, it.Response, c.model.VocabType() != llama.VocabWordPiece)
	default:
		tokens, err = c.encoder.Literal(it.Response)
	}
	if n, most := len(tokens), c.Params().Tokens; err == nil && n > most {
		err = fault.New("", "reward", most, "shorten the prompt, lower {max_tokens}, or choose another {reward}", "%d tokens, the classifier reads %d", n, most)
	}
	return tokens, err
}

func (c *classified) Score(ctx context.Context, items []Item) ([]Score, error) {
	scores := make([]Score, len(items))
	var texts [][]int32
	var of []int
	for i, it := range items {
		tokens, err := c.tokens(it)
		if err != nil {
			scores[i].Err = err
			continue
		}
		texts, of = append(texts, tokens), append(of, i)
	}
	for len(texts) > 0 {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n := min(len(texts), c.Params().Texts)
		classes, err := c.Classify(texts[:n])
		if err != nil {
			return nil, err
		}
		for k, outputs := range classes {
			scores[of[k]].Value = c.read(outputs)
		}
		texts, of = texts[n:], of[n:]
	}
	return scores, nil
}

// read is the score by the outputs of the classes: that of a single one as it is, else the probability of
// the class.
func (c *classified) read(outputs []float32) float64 {
	if len(outputs) == 1 || c.Softmax() {
		return float64(outputs[c.class])
	}
	most, sum := slices.Max(outputs), 0.0
	for _, x := range outputs {
		sum += math.Exp(float64(x - most))
	}
	return math.Exp(float64(outputs[c.class]-most)) / sum
}

// Check finds prompts that leave no room for a response.
func (c *classified) Check(ctx context.Context, records []prompt.Record) error {
	for _, r := range records {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := c.tokens(Item{Prompt: r}); err != nil {
			return fmt.Errorf("prompt %q: %w", r.ID, err)
		}
	}
	return nil
}

// Close frees the classifier and its model.
func (c *classified) Close() error { return errors.Join(c.Classifier.Close(), c.model.Close()) }
