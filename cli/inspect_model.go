package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
)

// modelFinding describes a GGUF model by its header; the weights are not loaded.
type modelFinding struct {
	Kind          string           `json:"kind"`
	Name          string           `json:"name,omitempty"`
	Architecture  string           `json:"architecture"`
	Parameters    uint64           `json:"parameters"`
	Files         int              `json:"files"` // that the model is split over
	Bytes         int64            `json:"bytes"` // of the files
	Layers        int64            `json:"layers"`
	Width         int64            `json:"width"`
	FeedForward   int64            `json:"feed_forward"`
	Heads         int64            `json:"heads"`
	KVHeads       int64            `json:"kv_heads"`
	Context       int64            `json:"context"` // tokens, in training
	Tokenizer     string           `json:"tokenizer"`
	Vocabulary    int              `json:"vocabulary"`
	SpecialTokens map[string]token `json:"special_tokens"`
	ChatTemplate  bool             `json:"chat_template"`
	Template      string           `json:"template,omitempty"` // its text
	Quantization  string           `json:"quantization"`       // by the file's own word
	Memory        memory           `json:"memory"`
	Tensors       []tensorCount    `json:"tensors"`
	Fingerprint   string           `json:"fingerprint"`
	Returns       []float32        `json:"returns,omitempty"` // of a value model, which gives a distribution over them
	Policy        string           `json:"policy,omitempty"`  // that it values, by its fingerprint
}

// memory is [llama.Memory] of a context of some size, estimated.
type memory struct {
	Context int    `json:"context"` // tokens
	Weights uint64 `json:"weights"` // bytes, as the others
	Cache   uint64 `json:"cache"`
	Compute uint64 `json:"compute"`
}

type token struct {
	ID   int64  `json:"id"`
	Text string `json:"text"`
}

// tensorCount sums up the tensors of one storage type.
type tensorCount struct {
	Type  string `json:"type"`
	Count int    `json:"count"`
	Bytes uint64 `json:"bytes"`
}

func examineModel(c *cli.Context, f *gguf.File) (finding, error) {
	arch := f.Str("general.architecture")
	number := func(key string) int64 {
		n, _ := f.Int(arch + "." + key)
		return n
	}
	vocabulary, _ := f.Value("tokenizer.ggml.tokens").([]string)
	m := &modelFinding{
		Kind: "model", Name: f.Str("general.name"), Architecture: arch, Files: len(f.Parts()),
		Layers: number("block_count"), Width: number("embedding_length"), FeedForward: number("feed_forward_length"),
		Heads: number("attention.head_count"), KVHeads: number("attention.head_count_kv"), Context: number("context_length"),
		Tokenizer: f.Str("tokenizer.ggml.model"), Vocabulary: max(len(vocabulary), int(number("vocab_size"))),
		SpecialTokens: map[string]token{}, Template: f.Str("tokenizer.chat_template"), Quantization: llama.FileTypeOf(f),
	}
	m.ChatTemplate = m.Template != ""
	m.Returns, _ = f.Value(train.AtomsKey).([]float32)
	m.Policy = f.Str(policyKey)
	if m.KVHeads == 0 {
		m.KVHeads = m.Heads
	}
	for _, kv := range f.KVs {
		name, special := strings.CutSuffix(strings.TrimPrefix(kv.Key, "tokenizer.ggml."), "_token_id")
		if id, ok := f.Int(kv.Key); ok && special {
			t := token{ID: id}
			if id >= 0 && id < int64(len(vocabulary)) {
				t.Text = vocabulary[id]
			}
			m.SpecialTokens[name] = t
		}
	}
	for _, part := range f.Parts() {
		m.Bytes += part.FileSize
		for _, t := range part.Tensors {
			m.Parameters += t.Elements()
			i := slices.IndexFunc(m.Tensors, func(c tensorCount) bool { return c.Type == t.Type.String() })
			if i < 0 {
				i = len(m.Tensors)
				m.Tensors = append(m.Tensors, tensorCount{Type: t.Type.String()})
			}
			m.Tensors[i].Count++
			m.Tensors[i].Bytes += t.Size
		}
	}
	slices.SortStableFunc(m.Tensors, func(a, b tensorCount) int { return int(b.Bytes) - int(a.Bytes) })
	var err error
	if m.Memory, err = estimate(c, f, m.Context); err != nil {
		return nil, err
	}
	m.Fingerprint, err = llama.Fingerprint(f)
	return m, err
}

// estimate is the memory for the context that the flags choose, or else for the one that
// decoding would take.
func estimate(c *cli.Context, f *gguf.File, trained int64) (memory, error) {
	if c.Int("ctx-size") < 0 {
		return memory{}, usagef(c, "-c %d: give a number of tokens", c.Int("ctx-size"))
	}
	p := llama.ContextParams{Ctx: c.Int("ctx-size"), UBatch: c.Int("ubatch-size")}
	if p.Ctx == 0 {
		p.Ctx = defaultContext
		if trained > 0 {
			p.Ctx = int(min(int64(p.Ctx), trained))
		}
	}
	e, err := contextParams(c)
	if err != nil {
		return memory{}, err
	}
	p.CacheK, p.CacheV, p.Flash = e.CacheK, e.CacheV, e.Flash
	m, err := llama.EstimateMemory(f, p)
	return memory{p.Ctx, m.Weights, m.Cache, m.Compute}, err
}

func (m *modelFinding) write(w io.Writer) error {
	var tensors, special []string
	for _, t := range m.Tensors {
		tensors = append(tensors, fmt.Sprintf("%d %s (%s)", t.Count, t.Type, size(t.Bytes)))
	}
	for name, t := range m.SpecialTokens {
		special = append(special, fmt.Sprintf("%s %d %q", name, t.ID, t.Text))
	}
	slices.Sort(special)
	file := size(uint64(m.Bytes))
	if m.Files > 1 {
		file += fmt.Sprintf(" in %d files", m.Files)
	}
	template := "no"
	if m.ChatTemplate {
		template = fmt.Sprintf("yes, %d characters (--json prints it)", len([]rune(m.Template)))
	}
	mem := m.Memory
	s := sheet{
		{"GGUF model", m.Name},
		{"architecture", m.Architecture},
		{"parameters", count(m.Parameters)},
		{"file", file},
		{"layers", m.Layers},
		{"width", fmt.Sprintf("%d, feed-forward %d", m.Width, m.FeedForward)},
		{"heads", fmt.Sprintf("%d, keys and values %d", m.Heads, m.KVHeads)},
		{"context", fmt.Sprintf("%d tokens", m.Context)},
		{"vocabulary", fmt.Sprintf("%d tokens (%s)", m.Vocabulary, m.Tokenizer)},
		{"special tokens", strings.Join(special, ", ")},
		{"chat template", template},
		{"quantization", m.Quantization},
		{"tensors", strings.Join(tensors, ", ")},
		{"memory", fmt.Sprintf("%s for %d tokens of context (-c): weights %s, cache %s, computing about %s",
			size(mem.Weights+mem.Cache+mem.Compute), mem.Context, size(mem.Weights), size(mem.Cache), size(mem.Compute))},
		{"fingerprint", m.Fingerprint},
	}
	if n := len(m.Returns); n > 0 {
		s = append(s, property{"value model", fmt.Sprintf("a distribution over %d returns from %.3g to %.3g, of policy %s", n, m.Returns[0], m.Returns[n-1], cmp.Or(m.Policy, "unknown"))})
	}
	return s.write(w)
}

// count is a number of parameters for people.
func count(n uint64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f billion", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f million", float64(n)/1e6)
	}
	return fmt.Sprint(n)
}
