package head

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/safetensors"
)

const opImport = "import a reward head"

// Import makes a head of a checkpoint in the layouts that reward models are published in: a folder,
// a .safetensors file or the index of several, with the checkpoint's config.json beside. Of several
// files those alone have to be there in which the head's tensors lie.
//
//	score                          *ForSequenceClassification, one output
//	score.0, score.2, ...          layers with max(0, x) between them
//	v_head, v_head.summary, ...    value heads, the same two ways
//	regression_layer, gating       several outputs, weighted by the prompt (ArmoRM)
func Import(path string) (*Head, error) {
	c, err := safetensors.Open(path)
	if err != nil {
		return nil, err
	}
	p := importer{c: c, folder: filepath.Dir(c.Path)}
	return p.head()
}

// ImportFile imports the head of a checkpoint into a file of its own, and says how to come by its
// trunk and to use both. prefixes says that the model was trained on unfinished answers, too, of which
// checkpoints say nothing.
func ImportFile(path, out string, prefixes bool) (next string, err error) {
	h, err := Import(path)
	if err != nil {
		return "", err
	}
	h.Prefixes = prefixes
	if err := h.Save(out); err != nil {
		return "", err
	}
	folder := path
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		folder = filepath.Dir(path)
	}
	return fmt.Sprintf(`The head reads the states of the checkpoint's own trunk. To have that as GGUF, save it as a language model, in Python:
  from transformers import AutoModelForCausalLM, AutoTokenizer
  for of in AutoModelForCausalLM, AutoTokenizer: of.from_pretrained(%q).save_pretrained("trunk")
(its output matrix may be said to be new: it is not read), and convert that:
  python3 llama.cpp/convert_hf_to_gguf.py trunk
Then the reward is head:%s@TRUNK.gguf
`, folder, out), nil
}

// importer reads one checkpoint.
type importer struct {
	c      *safetensors.Checkpoint
	folder string
	config config
}

// config is what a config.json says.
type config struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	Width         int      `json:"hidden_size"`
	Vocabulary    int      `json:"vocab_size"`
	Text          *config  `json:"text_config"` // of models that see, too
	Temperature   *float64 `json:"gating_temperature"`
	Pad           any      `json:"pad_token_id"`    // a number, if it is one token
	RewardToken   any      `json:"reward_token_id"` // at which the head reads, put behind the conversation (InternLM2)
}

// architectures are llama.cpp's names for the trunks of model types. A head of another one is not
// held to an architecture.
var architectures = map[string]string{
	"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma": "gemma", "gemma2": "gemma2",
	"gemma3": "gemma3", "gemma3_text": "gemma3", "phi3": "phi3",
}

func (p *importer) bad(hint, format string, args ...any) error {
	return &fault.Error{Op: opImport, Err: fmt.Errorf("%s: "+format, append([]any{p.c.Path}, args...)...), Hint: hint}
}

func (p *importer) head() (*Head, error) {
	if err := p.readConfig(); err != nil {
		return nil, err
	}
	h := &Head{}
	var name string
	for _, name = range []string{"score", "v_head", "v_head.summary", "regression_layer"} {
		var err error
		if h.Layers, err = p.layers(name); err != nil {
			return nil, err
		}
		if h.Layers != nil {
			break
		}
	}
	if h.Layers == nil {
		return nil, p.bad("take a reward model's checkpoint, an adapter merged into it", "it has no reward head: none of score, v_head, v_head.summary and regression_layer is among its %d tensors", len(p.c.Names()))
	}
	h.Source = name
	if len(p.config.Architectures) > 0 {
		h.Source += " of " + p.config.Architectures[0]
	}
	// transformers' classifiers read the last token that is none of padding, and many take the token for
	// padding that ends a turn. Value heads read the last one by its place.
	if pad, ok := p.config.Pad.(float64); ok && !strings.HasPrefix(name, "v_head") && pad >= 0 && (p.config.Vocabulary == 0 || pad < float64(p.config.Vocabulary)) {
		h.Padding = []int32{int32(pad)}
	}
	var err error
	if h.Gate, err = p.gate(h.Layers); err != nil {
		return nil, err
	}
	if n := h.Layers[len(h.Layers)-1].Out; n != 1 && h.Gate == nil {
		return nil, p.bad("take a checkpoint whose head has one output, or a gating network", "%s has %d outputs, and nothing says which is the reward", name, n)
	}
	if h.Trunk, err = p.trunk(); err != nil {
		return nil, err
	}
	if err := h.check(); err != nil {
		return nil, p.bad("take the checkpoint's own config.json", "its head does not fit its config.json: %w", err)
	}
	return h, nil
}

func (p *importer) readConfig() error {
	path := filepath.Join(p.folder, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return &fault.Error{Op: opImport, Err: err, Hint: "put the checkpoint's config.json beside its tensors: it says what trunk the head reads"}
	}
	if err := json.Unmarshal(text, &p.config); err != nil {
		return &fault.Error{Op: opImport, Err: fmt.Errorf("%s: %w", path, err), Hint: "copy or download the file anew"}
	}
	if t := p.config.Text; t != nil && p.config.Width == 0 {
		p.config.Width, p.config.Vocabulary = t.Width, t.Vocabulary
	}
	if p.config.Width < 1 || p.config.Vocabulary < 0 {
		return &fault.Error{Op: opImport, Err: fmt.Errorf("%s says a hidden_size of %d and a vocab_size of %d", path, p.config.Width, p.config.Vocabulary), Hint: "copy or download the file anew"}
	}
	if p.config.RewardToken != nil {
		return &fault.Error{Op: opImport, Err: fmt.Errorf("%s says a reward_token_id: its head reads a token that follows the conversation", path), Hint: "take a model whose head reads the conversation's last token"}
	}
	return nil
}

// tensor reads a tensor of some number of dimensions.
func (p *importer) tensor(name string, dims int) (shape []int, x []float32, err error) {
	t, err := p.c.Tensor(name)
	if err != nil {
		return nil, nil, err
	}
	if len(t.Shape) != dims {
		return nil, nil, p.bad("take another checkpoint", "tensor %q has the shape %v, and %d dimensions are known", name, t.Shape, dims)
	}
	x, err = t.Floats()
	return t.Shape, x, err
}

// layer reads a linear layer.
func (p *importer) layer(name string) (Layer, error) {
	shape, w, err := p.tensor(name+".weight", 2)
	if err != nil {
		return Layer{}, err
	}
	l := Layer{In: shape[1], Out: shape[0], Weight: w}
	if bias := name + ".bias"; p.c.Has(bias) {
		if shape, l.Bias, err = p.tensor(bias, 1); err == nil && shape[0] != l.Out {
			err = p.bad("get the checkpoint again", "tensor %q has %d numbers, for %d outputs", bias, shape[0], l.Out)
		}
	}
	return l, err
}

// layers reads a linear layer of a name, or the layers NAME.0, NAME.2, ... of a torch.nn.Sequential or
// ModuleList, between which max(0, x) has a number of its own or none. nil where there is nothing of the name.
func (p *importer) layers(name string) (layers []Layer, err error) {
	if p.c.Has(name + ".weight") {
		l, err := p.layer(name)
		return []Layer{l}, err
	}
	var numbers []int
	for _, tensor := range p.c.Names() {
		rest, ok := strings.CutPrefix(tensor, name+".")
		number, weight := strings.CutSuffix(rest, ".weight")
		if n, err := strconv.Atoi(number); ok && weight && err == nil && n >= 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		l, err := p.layer(fmt.Sprintf("%s.%d", name, n))
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// gate reads ArmoRM's gating network, nil where there is none. The matrix that transforms the outputs is
// put into their layer.
func (p *importer) gate(outputs []Layer) (*Gate, error) {
	layers, err := p.layers("gating.layers")
	if err != nil || layers == nil {
		return nil, err
	}
	g := &Gate{Layers: layers, Temperature: 10, Scale: 1} // as where the config says nothing
	if t := p.config.Temperature; t != nil {
		g.Temperature = *t
	}
	const scale, transform = "gating.logit_scale", "reward_transform_matrix"
	if p.c.Has(scale) {
		_, x, err := p.tensor(scale, 1)
		if err == nil && len(x) != 1 {
			err = p.bad("get the checkpoint again", "tensor %q has %d numbers", scale, len(x))
		}
		if err != nil {
			return nil, err
		}
		g.Scale = float64(x[0])
	}
	if !p.c.Has(transform) {
		return g, nil
	}
	shape, m, err := p.tensor(transform, 2)
	if err != nil {
		return nil, err
	}
	l := &outputs[len(outputs)-1]
	n := l.Out
	if shape[0] != n || shape[1] != n {
		return nil, p.bad("get the checkpoint again", "tensor %q has the shape %v, for %d outputs", transform, shape, n)
	}
	// (W x + b) M, rows times a matrix: W' = M^T W, b' = M^T b.
	w, b := make([]float32, len(l.Weight)), l.Bias
	if b != nil {
		b = make([]float32, n)
	}
	for k := range n {
		for j := range l.In {
			sum := 0.0
			for i := range n {
				sum += float64(m[i*n+k]) * float64(l.Weight[i*l.In+j])
			}
			w[k*l.In+j] = float32(sum)
		}
		if b != nil {
			sum := 0.0
			for i := range n {
				sum += float64(m[i*n+k]) * float64(l.Bias[i])
			}
			b[k] = float32(sum)
		}
	}
	l.Weight, l.Bias = w, b
	return g, nil
}

// trunk is what the checkpoint says of the model that the head reads.
func (p *importer) trunk() (t Trunk, err error) {
	t = Trunk{Architecture: architectures[p.config.ModelType], Width: p.config.Width, Vocabulary: p.config.Vocabulary}
	if t.Template, err = template(p.folder); err != nil {
		return t, err
	}
	const embeddings, norm = "model.embed_tokens.weight", "model.norm.weight"
	// What lies in files that are not there is not looked at.
	if e, err := p.c.Tensor(embeddings); err == nil && (len(e.Shape) != 2 || t.Vocabulary > 0 && e.Shape[0] != t.Vocabulary || e.Shape[1] != t.Width) {
		return t, p.bad("take the checkpoint's own config.json", "tensor %q has the shape %v, and config.json says a vocab_size of %d and a hidden_size of %d", embeddings, e.Shape, t.Vocabulary, t.Width)
	}
	// Some converters change the gains: those of the architectures above, as follows.
	if n, err := p.c.Tensor(norm); err == nil && t.Architecture != "" {
		if t.Norm, err = n.Floats(); err != nil {
			return t, err
		}
		// Gemma's checkpoints keep the gains minus 1, and their GGUF the gains.
		if strings.HasPrefix(t.Architecture, "gemma") {
			for i := range t.Norm {
				t.Norm[i]++
			}
		}
	}
	return t, nil
}

// template is the chat template of a checkpoint's tokenizer, "" where none lies beside it.
func template(folder string) (string, error) {
	path := filepath.Join(folder, "chat_template.jinja")
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		return string(text), nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", &fault.Error{Op: opImport, Err: err, Hint: "copy or download the file anew"}
	}
	path = filepath.Join(folder, "tokenizer_config.json")
	if text, err = os.ReadFile(path); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	var tokenizer struct {
		Template json.RawMessage `json:"chat_template"`
	}
	if err == nil {
		err = json.Unmarshal(text, &tokenizer)
	}
	if err != nil {
		return "", &fault.Error{Op: opImport, Err: fmt.Errorf("%s: %w", path, err), Hint: "copy or download the file anew"}
	}
	var one string
	var several []struct{ Name, Template string }
	if json.Unmarshal(tokenizer.Template, &one) == nil {
		return one, nil
	}
	if json.Unmarshal(tokenizer.Template, &several) == nil {
		for _, t := range several {
			if t.Name == "default" {
				return t.Template, nil
			}
		}
	}
	return "", nil
}
