package llama

/*
#include "shim.h"
*/
import "C"

import (
	"math"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// Classifier gives texts scores of classes by a model that llama.cpp knows a head of: BERT's kin, and
// Qwen3 rerankers (llama_get_embeddings_seq, pooling RANK). Of the former the head reads the state at the first token and
// its outputs come as they are; of the latter that at the last one, and they are a softmax. Other models
// have no head there: their rewards are read in Go. It is safe for concurrent use; calls take turns.
type Classifier struct {
	model  *Model
	params ClassifierParams
	labels []string

	mu sync.Mutex
	c  *C.ivo_classifier
}

// ClassifierParams are the options of [Model.NewClassifier].
type ClassifierParams struct {
	Tokens  int // that are computed at once, in which a text has to fit; 0 for what the model was trained with
	Texts   int // that are computed at once; default 16
	Threads int // default: the number of CPUs
}

const (
	clsHidden = "cls.weight"        // a layer with tanh behind it
	clsOutput = "cls.output.weight" // of the classes
)

// NewClassifier makes a classifier. It refuses what llama.cpp computes nonsense of: models without a
// head, and a softmax over one class, which is 1 whatever the text.
func (m *Model) NewClassifier(p ClassifierParams) (*Classifier, error) {
	const op = "new classifier"
	if err := m.enter(op); err != nil {
		return nil, err
	}
	defer m.leave()
	const hint = "BERT's kin and Qwen3 rerankers that llama.cpp's convert_hf_to_gguf.py has converted have one; a reward model on another trunk is for head:"
	classes := int(C.ivo_classes(m.c))
	output, whole := findTensor(m.head, clsOutput)
	if !whole {
		output, whole = findTensor(m.head, clsHidden)
	}
	switch {
	case m.info.Layers == 0:
		return nil, failf(op, "load it without VocabOnly", "only the vocabulary was loaded")
	case m.info.Encoder:
		return nil, failf(op, hint, "a %s model reads its text with an encoder and writes another", m.info.Architecture)
	case !whole:
		return nil, failf(op, hint, "%s has no classifier head", m.path)
	case outputsOf(output) != classes:
		return nil, failf(op, hintConvert, "%s names %d classes, its head %q has %d outputs", m.path, classes, output.Name, outputsOf(output))
	case m.info.Architecture == "qwen3" && classes == 1:
		return nil, failf(op, "import its head with ivo reward import, and name it as head:REWARD.gguf@TRUNK.gguf",
			"llama.cpp takes a softmax over the outputs of a qwen3 classifier: of the one output that %s has it is 1 for every text", m.path)
	}
	if p.Tokens == 0 {
		p.Tokens = m.info.ContextTrain
	}
	if n := int(m.positions()); n > 0 {
		p.Tokens = min(p.Tokens, n)
	}
	if p.Texts == 0 {
		p.Texts = 16
	}
	if p.Threads == 0 {
		p.Threads = runtime.NumCPU()
	}
	switch {
	case p.Tokens < 1 || p.Tokens > maxCtx:
		return nil, failf(op, hintCtx, "%d tokens at once", p.Tokens)
	case p.Texts < 1 || p.Texts > MaxSequences:
		return nil, failf(op, "give 1 to 256", "%d texts at once", p.Texts)
	case p.Threads < 1 || p.Threads > 4*runtime.NumCPU():
		return nil, failf(op, "give as many as there are free cores", "%d threads", p.Threads)
	}
	c := &Classifier{model: m, params: p}
	for i := range classes {
		c.labels = append(c.labels, C.GoString(C.ivo_class_label(m.c, C.int32_t(i))))
	}
	takeErrors()
	if c.c = C.ivo_classifier_new(m.c, C.int32_t(p.Tokens), C.int32_t(p.Texts), C.int32_t(p.Threads)); c.c == nil {
		return nil, failf(op, "lower the number of tokens", "llama.cpp failed: %s", takeErrors())
	}
	m.refs.Add(1)
	return c, nil
}

// outputsOf is the number of outputs of a layer.
func outputsOf(t gguf.TensorInfo) int {
	if len(t.Shape) < 2 {
		return 1
	}
	return int(t.Shape[1])
}

// Labels are the names of the classes; "" of one that has none.
func (c *Classifier) Labels() []string { return c.labels }

// Params are the options, with what was chosen.
func (c *Classifier) Params() ClassifierParams { return c.params }

// Softmax says whether the scores of classes are probabilities already.
func (c *Classifier) Softmax() bool { return c.model.info.Architecture == "qwen3" }

// Classify gives each text its scores, [text][class]. A text has at least one token and no more than
// [ClassifierParams].Tokens.
func (c *Classifier) Classify(texts [][]int32) ([][]float32, error) {
	const op = "classify"
	for _, tokens := range texts {
		if n := len(tokens); n < 1 || n > c.params.Tokens {
			return nil, failf(op, "shorten it", "a text of %d tokens, of 1 to %d", n, c.params.Tokens)
		}
		for _, t := range tokens {
			if t < 0 || int(t) >= c.model.info.Vocab {
				return nil, failf(op, "use the model's own tokenizer", "token %d of %d", t, c.model.info.Vocab)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.c == nil {
		return nil, &Error{Op: op, Err: ErrClosed}
	}
	out := make([][]float32, 0, len(texts))
	for len(texts) > 0 {
		var tokens, lens []int32
		for len(lens) < min(len(texts), c.params.Texts) && len(tokens)+len(texts[len(lens)]) <= c.params.Tokens {
			tokens, lens = append(tokens, texts[len(lens)]...), append(lens, int32(len(texts[len(lens)])))
		}
		scores := make([]float32, len(lens)*len(c.labels))
		takeErrors()
		status := C.ivo_classify(c.c, (*C.int32_t)(unsafe.Pointer(&tokens[0])), (*C.int32_t)(unsafe.Pointer(&lens[0])), C.int32_t(len(lens)), (*C.float)(unsafe.Pointer(&scores[0])))
		if status != 0 {
			return nil, failf(op, "take another model", "llama.cpp failed: %s", takeErrors())
		}
		for i := range lens {
			of := scores[i*len(c.labels) : (i+1)*len(c.labels)]
			for _, x := range of {
				if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
					return nil, failf(op, "the model's weights may be damaged: download it again", "a score is %v", x)
				}
			}
			out = append(out, of)
		}
		texts = texts[len(lens):]
	}
	return out, nil
}

// Close frees the classifier; the model is left. A second Close does nothing.
func (c *Classifier) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.c != nil {
		C.ivo_classifier_free(c.c)
		c.c = nil
		c.model.refs.Add(-1)
	}
	return nil
}
