package inspect

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/fingerprint"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/internal/sheet"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/train"
	"github.com/ivo-decoding/ivo/orchestrator/learn"
	"github.com/ivo-decoding/ivo/orchestrator/tune"
)

// Model describes a GGUF model by its header; the weights are not loaded.
type Model struct {
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
	Pretokenizer  string           `json:"pretokenizer,omitempty"` // rule of cutting texts, of a BPE vocabulary
	Vocabulary    int              `json:"vocabulary"`
	SpecialTokens map[string]Token `json:"special_tokens"`
	ChatTemplate  bool             `json:"chat_template"`
	Template      string           `json:"template,omitempty"` // its text
	Quantization  string           `json:"quantization"`       // by the file's own word
	Loads         string           `json:"loads"`              // "yes", or why the linked llama.cpp cannot load it
	Memory        Memory           `json:"memory"`             // of 0 tokens where it is no language model
	Tensors       []TensorCount    `json:"tensors"`
	Fingerprint   string           `json:"fingerprint"`
	TunedFrom     string           `json:"tuned_from,omitempty"` // fingerprint of the model that ivo tune made it from
	TunedBy       string           `json:"tuned_by,omitempty"`   // how
	Returns       []float32        `json:"returns,omitempty"`    // of a value model, which gives a distribution over them
	Policy        string           `json:"policy,omitempty"`     // that it values, by its fingerprint
}

// Memory is [llama.Memory] of a context of some size, estimated.
type Memory struct {
	Context int    `json:"context"` // tokens
	Weights uint64 `json:"weights"` // bytes, as the others
	Cache   uint64 `json:"cache"`
	Compute uint64 `json:"compute"`
}

// Token is a token of a special use.
type Token struct {
	ID   int64  `json:"id"`
	Text string `json:"text"`
}

// TensorCount sums up the tensors of one storage type.
type TensorCount struct {
	Type  string `json:"type"`
	Count int    `json:"count"`
	Bytes uint64 `json:"bytes"`
}

func findModel(ctx context.Context, f *gguf.File, o Options) (Finding, error) {
	arch := f.Str("general.architecture")
	number := func(key string) int64 {
		n, _ := f.Int(arch + "." + key)
		return n
	}
	vocabulary, _ := f.Value("tokenizer.ggml.tokens").([]string)
	m := &Model{
		Kind: "model", Name: f.Str("general.name"), Architecture: arch, Files: len(f.Parts()),
		Layers: number("block_count"), Width: number("embedding_length"), FeedForward: number("feed_forward_length"),
		Heads: number("attention.head_count"), KVHeads: number("attention.head_count_kv"), Context: number("context_length"),
		Tokenizer: f.Str("tokenizer.ggml.model"), Pretokenizer: f.Str("tokenizer.ggml.pre"), Vocabulary: max(len(vocabulary), int(number("vocab_size"))),
		SpecialTokens: map[string]Token{}, Template: f.Str("tokenizer.chat_template"), Quantization: llama.FileTypeOf(f),
	}
	m.ChatTemplate = m.Template != ""
	m.Returns, _ = f.Value(train.AtomsKey).([]float32)
	m.Policy = f.Str(learn.PolicyKey)
	m.TunedFrom, m.TunedBy = f.Str(tune.FromKey), f.Str(tune.ByKey)
	if m.KVHeads == 0 {
		m.KVHeads = m.Heads
	}
	for _, kv := range f.KVs {
		name, special := strings.CutSuffix(strings.TrimPrefix(kv.Key, "tokenizer.ggml."), "_token_id")
		if id, ok := f.Int(kv.Key); ok && special {
			t := Token{ID: id}
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
			i := slices.IndexFunc(m.Tensors, func(c TensorCount) bool { return c.Type == t.Type.String() })
			if i < 0 {
				i = len(m.Tensors)
				m.Tensors = append(m.Tensors, TensorCount{Type: t.Type.String()})
			}
			m.Tensors[i].Count++
			m.Tensors[i].Bytes += t.Size
		}
	}
	slices.SortStableFunc(m.Tensors, func(a, b TensorCount) int { return int(b.Bytes) - int(a.Bytes) })
	var err error
	if m.Memory, err = estimate(f, m.Context, o); err != nil {
		m.Memory = Memory{}
	}
	m.Loads = "yes"
	if err := cmp.Or(llama.Loadable(f), err); err != nil {
		m.Loads = "no: " + strings.TrimPrefix(strings.TrimPrefix(err.Error(), "load "), f.Path+": ")
	}
	m.Fingerprint, err = fingerprint.Of(ctx, f, o.Progress)
	return m, err
}

// estimate is the memory for the context that the flags choose, or else for the one that
// decoding would take.
func estimate(f *gguf.File, trained int64, o Options) (Memory, error) {
	p := o.Context
	p.Sequences = 32 // as a list of prompts takes: each holds a state of recurrent models
	if p.Ctx == 0 {
		p.Ctx = o.MostCtx
		if trained > 0 {
			p.Ctx = int(min(int64(p.Ctx), trained))
		}
	}
	m, err := llama.EstimateMemory(f, p)
	return Memory{p.Ctx, m.Weights, m.Cache, m.Compute}, err
}

func (m *Model) Write(w io.Writer) error {
	var tensors, special []string
	for _, t := range m.Tensors {
		tensors = append(tensors, fmt.Sprintf("%d %s (%s)", t.Count, t.Type, sheet.Size(t.Bytes)))
	}
	for name, t := range m.SpecialTokens {
		special = append(special, fmt.Sprintf("%s %d %q", name, t.ID, t.Text))
	}
	slices.Sort(special)
	file := sheet.Size(uint64(m.Bytes))
	if m.Files > 1 {
		file += fmt.Sprintf(" in %d files", m.Files)
	}
	template := "no"
	if m.ChatTemplate {
		template = fmt.Sprintf("yes, %d characters (JSON has them)", len([]rune(m.Template)))
	}
	tokenizer := m.Tokenizer
	if m.Pretokenizer != "" {
		tokenizer += ", cut by " + m.Pretokenizer
	}
	mem, memory := m.Memory, "not known"
	if mem.Context > 0 {
		memory = fmt.Sprintf("%s for %d tokens of context (%s): weights %s, cache %s, computing about %s",
			sheet.Size(mem.Weights+mem.Cache+mem.Compute), mem.Context, fault.Name("ctx"), sheet.Size(mem.Weights), sheet.Size(mem.Cache), sheet.Size(mem.Compute))
	}
	s := sheet.Sheet{
		{"GGUF model", m.Name},
		{"architecture", m.Architecture},
		{"parameters", sheet.Count(m.Parameters)},
		{"file", file},
		{"layers", m.Layers},
		{"width", fmt.Sprintf("%d, feed-forward %d", m.Width, m.FeedForward)},
		{"heads", fmt.Sprintf("%d, keys and values %d", m.Heads, m.KVHeads)},
		{"context", fmt.Sprintf("%d tokens", m.Context)},
		{"vocabulary", fmt.Sprintf("%d tokens (%s)", m.Vocabulary, tokenizer)},
		{"special tokens", strings.Join(special, ", ")},
		{"chat template", template},
		{"quantization", m.Quantization},
		{"tensors", strings.Join(tensors, ", ")},
		{"loads here", m.Loads},
		{"memory", memory},
		{"fingerprint", m.Fingerprint},
	}
	if m.TunedBy != "" {
		s = append(s, sheet.Property{"policy", m.TunedBy + ", from " + m.TunedFrom})
	}
	if n := len(m.Returns); n > 0 {
		s = append(s, sheet.Property{"value model", fmt.Sprintf("a distribution over %d returns from %.3g to %.3g, of policy %s", n, m.Returns[0], m.Returns[n-1], cmp.Or(m.Policy, "unknown"))})
	}
	return s.Write(w)
}
