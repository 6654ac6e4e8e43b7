package valuehead

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// FileType is the value of general.type in a value head's GGUF file.
const FileType = "ivo.valuehead"

const (
	fileVersion   = 2
	squashVersion = 3 // of heads that squash their values, which older programs would not
	prefix        = "ivo.valuehead."
	keyType       = "general.type"
	keyChecksum   = prefix + "checksum"
	keyMatch      = prefix + "shape.match" // absent in the first files, as is
	keyTop        = prefix + "top"
	keyNorms      = prefix + "norms"
	keyProbe      = prefix + "probe.tokens"
	probeTensor   = "probe.states"
	centreTensor  = "features.centre"
	tokensTensor  = "tokens"
	squashTensor  = "squash"
	keyUnit       = prefix + "unit" // absent in the first files
	// absent in files without advantages
	keyVocabulary = prefix + "advantages.vocabulary"
	hintHead      = "train the head again, or copy the file anew"
)

// Save writes the head as a GGUF file of its own, whole or not at all.
func (h *Head) Save(path string) error {
	kvs, tensors := h.Pack("")
	kvs = append([]gguf.KV{{Key: keyType, Value: FileType}, {Key: "general.architecture", Value: "ivo-valuehead"}}, kvs...)
	sum := newChecksum()
	for _, kv := range kvs {
		sum.kv(kv)
	}
	for _, t := range tensors {
		sum.floats(t.Name, t.Data)
	}
	return gguf.Write(path, append(kvs, gguf.KV{Key: keyChecksum, Value: sum.digest.Sum64()}), tensors)
}

// Pack is what a file holds of the head: its metadata, and its tensors by names that begin with some
// letters, for files that hold more than a head. [Unpack] reads it.
func (h *Head) Pack(letters string) (kvs []gguf.KV, tensors []gguf.Tensor) {
	s, o := h.features.schema, h.features.options
	version := fileVersion
	if h.squash.reach > 0 || h.advantages != nil && h.advantages.Squashed() {
		version = squashVersion
	}
	kvs = []gguf.KV{
		{Key: prefix + "version", Value: uint32(version)},
		{Key: prefix + "kind", Value: string(h.kind)},
		{Key: prefix + "spread", Value: string(h.spread)},
		{Key: prefix + "backbone", Value: s.Backbone},
		{Key: prefix + "layers", Value: int32s(s.Layers)},
		{Key: prefix + "width", Value: uint32(s.Width)},
		{Key: prefix + "scalars", Value: s.Scalars},
		{Key: prefix + "prompts", Value: s.Prompts},
		{Key: prefix + "prompt_layers", Value: int32s(s.PromptLayers)},
		{Key: prefix + "features.layers", Value: int32s(o.Layers)},
		{Key: prefix + "features.scalars", Value: o.Scalars},
		{Key: prefix + "features.blocks", Value: blockNames(o.Blocks)},
		{Key: prefix + "reward.mean", Value: h.rewardMean},
		{Key: prefix + "reward.scale", Value: h.rewardScale},
		{Key: prefix + "train.trajectories", Value: uint32(h.summary.Trajectories)},
		{Key: prefix + "train.prompts", Value: uint32(h.summary.Prompts)},
		{Key: prefix + "train.states", Value: uint64(h.summary.States)},
		{Key: prefix + "train.held_out", Value: uint32(h.summary.HeldOut)},
		{Key: prefix + "train.target", Value: string(h.target)},
		{Key: prefix + "train.epochs", Value: uint32(h.summary.Epochs)},
		{Key: prefix + "train.seed", Value: h.summary.Seed},
		{Key: prefix + "train.warm_start", Value: h.summary.WarmStart},
		{Key: prefix + "train.r2", Value: h.summary.R2},
		{Key: prefix + "train.r2_last", Value: h.summary.R2Last},
		{Key: prefix + "train.spearman", Value: h.summary.Spearman},
	}
	if s.Top > 0 {
		kvs = append(kvs, gguf.KV{Key: keyTop, Value: uint32(s.Top)})
	}
	if s.Norms != "" {
		kvs = append(kvs, gguf.KV{Key: keyNorms, Value: s.Norms})
	}
	if h.unit > 0 {
		kvs = append(kvs, gguf.KV{Key: keyUnit, Value: h.unit})
	}
	if a := h.advantages; a != nil {
		kvs = append(kvs,
			gguf.KV{Key: keyVocabulary, Value: uint32(a.vocabulary)},
			gguf.KV{Key: prefix + "advantages.rank", Value: uint32(a.rank)},
			gguf.KV{Key: prefix + "advantages.unit", Value: a.unit},
			gguf.KV{Key: prefix + "advantages.once", Value: a.once})
	}
	for _, n := range h.shape.sizes() {
		kvs = append(kvs, gguf.KV{Key: prefix + "shape." + n.name, Value: uint32(*n.v)})
	}
	kvs = append(kvs, gguf.KV{Key: prefix + "shape.advantages", Value: h.shape.Advantages})
	if h.shape.looks() {
		kvs = append(kvs, gguf.KV{Key: keyMatch, Value: string(h.shape.Match)})
	}
	for _, t := range h.named() {
		shape := []uint64{uint64(t.cols), uint64(t.rows)}
		if t.rows == 1 {
			shape = shape[:1]
		}
		tensors = append(tensors, gguf.Tensor{Name: letters + t.name, Shape: shape, Data: t.data})
	}
	if p := h.probe; p != nil {
		kvs = append(kvs, gguf.KV{Key: keyProbe, Value: p.Tokens})
		tensors = append(tensors, gguf.Tensor{Name: letters + probeTensor, Shape: []uint64{uint64(s.Width), uint64(len(p.Tokens) - p.From)}, Data: p.States})
	}
	return kvs, tensors
}

// Load reads a head that Save wrote. Any damage is an error that names the file and ends
// in what to do.
func Load(path string) (*Head, error) {
	f, err := gguf.Read(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(op, "value_head", nil, "check the path: a run has a head in the folder of every round", "%w", err)
		}
		return nil, fmt.Errorf("valuehead: %w", err)
	}
	fail := func(hint, format string, args ...any) (*Head, error) {
		return nil, fmt.Errorf("valuehead: %w", &gguf.Error{Path: path, Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
	if f.Str(keyType) != FileType {
		return fail("name a head that a run wrote; a model is for {model}", "is a GGUF file, but not a value head")
	}
	if v, _ := f.Int(prefix + "version"); v < fileVersion || v > squashVersion {
		return fail("train the head again, or use the ivo that wrote it", "head format version %d, this ivo reads %d and %d", v, fileVersion, squashVersion)
	}
	h, err := decode(f)
	if err != nil {
		return fail(hintHead, "damaged value head: %v", err)
	}
	return h, nil
}

// decode builds the head from a file of the right type and version.
func decode(f *gguf.File) (*Head, error) {
	sum := newChecksum()
	for _, kv := range f.KVs {
		if kv.Key != keyChecksum {
			sum.kv(kv)
		}
	}
	data := make(map[string][]float32)
	for _, t := range f.Tensors {
		x, err := f.ReadF32(t.Name)
		if err != nil {
			return nil, err
		}
		sum.floats(t.Name, x)
		data[t.Name] = x
	}
	m := metadata{f: f}
	if checksum := value[uint64](&m, "checksum"); m.err != nil {
		return nil, m.err
	} else if sum.digest.Sum64() != checksum {
		return nil, errors.New("its checksum does not fit")
	}
	return build(f, data)
}

// Unpack builds the head that [Head.Pack] put into a file that has been checked, with its tensors by
// their own names.
func Unpack(f *gguf.File, data map[string][]float32) (*Head, error) {
	if v, _ := f.Int(prefix + "version"); v < fileVersion || v > squashVersion {
		return nil, fmt.Errorf("a value head in it has format version %d, this ivo reads %d and %d", v, fileVersion, squashVersion)
	}
	return build(f, data)
}

// build makes the head of metadata and tensors.
func build(f *gguf.File, data map[string][]float32) (*Head, error) {
	m := metadata{f: f}
	kind, spread := Kind(value[string](&m, "kind")), Spread(value[string](&m, "spread"))
	shape := Shape{Advantages: value[bool](&m, "shape.advantages")}
	for _, n := range shape.sizes() {
		*n.v = int(value[uint32](&m, "shape."+n.name))
	}
	if shape.looks() {
		shape.Match = MatchTokens
		if f.Value(keyMatch) != nil {
			shape.Match = Match(value[string](&m, "shape.match"))
		}
	}
	schema := states.Schema{
		Backbone: value[string](&m, "backbone"), Layers: ints(value[[]int32](&m, "layers")),
		Width: int(value[uint32](&m, "width")), Scalars: value[[]string](&m, "scalars"),
		Prompts: value[bool](&m, "prompts"), PromptLayers: ints(value[[]int32](&m, "prompt_layers")),
	}
	if len(schema.PromptLayers) == 0 {
		schema.PromptLayers = nil
	}
	if f.Value(keyTop) != nil {
		schema.Top = int(value[uint32](&m, "top"))
	}
	if f.Value(keyNorms) != nil {
		schema.Norms = value[string](&m, "norms")
	}
	options := FeatureOptions{
		Layers:  ints(value[[]int32](&m, "features.layers")),
		Scalars: append([]string{}, value[[]string](&m, "features.scalars")...),
		Blocks:  []Block{},
	}
	for _, name := range value[[]string](&m, "features.blocks") {
		options.Blocks = append(options.Blocks, Block(name))
	}
	rewardMean, rewardScale := value[float32](&m, "reward.mean"), value[float32](&m, "reward.scale")
	summary := Summary{
		Trajectories: int(value[uint32](&m, "train.trajectories")), Prompts: int(value[uint32](&m, "train.prompts")),
		States: int(value[uint64](&m, "train.states")), HeldOut: int(value[uint32](&m, "train.held_out")),
		Epochs: int(value[uint32](&m, "train.epochs")), Seed: value[uint64](&m, "train.seed"),
		WarmStart: value[bool](&m, "train.warm_start"), R2: value[float64](&m, "train.r2"),
		R2Last: value[float64](&m, "train.r2_last"), Spearman: value[float64](&m, "train.spearman"),
	}
	target := Target(value[string](&m, "train.target"))
	if m.err != nil {
		return nil, m.err
	}
	features, err := NewFeatures(schema, options)
	if err != nil {
		return nil, err
	}
	if features.centred() {
		if features.centre = data[centreTensor]; len(features.centre) != features.hidden {
			return nil, errors.New("its mean state does not fit its features")
		}
	}
	// Before newHead allocates: no damaged width or size asks for more than is there.
	if err := shape.validate(); err != nil {
		return nil, err
	}
	floats := 0
	for _, x := range data {
		floats += len(x)
	}
	if kind != Additive && len(data["input.mean"]) != features.width || shape.Hidden > floats || shape.Atoms > floats || shape.Embedding*shape.Vocabulary > floats {
		return nil, errors.New("its tensors do not fit its features and shape")
	}
	h, err := newHead(kind, shape, features)
	if err != nil {
		return nil, err
	}
	h.spread, h.target, h.summary = spread, target, summary
	h.rewardMean, h.rewardScale = rewardMean, rewardScale
	if kind != Additive {
		h.input = scaling{make([]float32, features.width), make([]float32, features.width)}
	}
	h.prompt = scaling{make([]float32, h.promptWidth()), make([]float32, h.promptWidth())}
	h.atoms = make([]float32, shape.Atoms)
	if h.tokens = data[tokensTensor]; h.tokens != nil && (kind != Linear || shape.Atoms > 0) {
		return nil, errors.New("it has tokens, which are for linear heads")
	}
	if h.squash = readSquash(data[squashTensor]); h.squash.reach != 0 && (kind != Linear || shape.Atoms > 0) {
		return nil, errors.New("its values are squashed, which is for linear heads")
	}
	if err := h.squash.check(); err != nil {
		return nil, err
	}
	if f.Value(keyUnit) != nil {
		h.unit = value[float64](&m, "unit")
	}
	if f.Value(keyVocabulary) != nil {
		h.advantages = &Advantages{
			features: features, vocabulary: int(value[uint32](&m, "advantages.vocabulary")), rank: int(value[uint32](&m, "advantages.rank")), unit: value[float64](&m, "advantages.unit"),
			once:  value[bool](&m, "advantages.once"),
			table: data["advantages.table"], slope: data["advantages.slope"],
			prompts: directions{data["advantages.prompt.mean"], data["advantages.prompt.axes"]},
		}
		if m.err != nil {
			return nil, m.err
		}
		if base := data["advantages.base"]; len(base) == 1 {
			h.advantages.base = base[0]
		}
		h.advantages.squash = readSquash(data["advantages."+squashTensor])
		if err := h.advantages.check(); err != nil {
			return nil, err
		}
	} else if kind == Additive {
		return nil, errors.New("its advantages are missing")
	}
	if m.err != nil {
		return nil, m.err
	}
	for _, t := range h.named() {
		if copy(t.data, data[t.name]) != len(data[t.name]) || len(data[t.name]) != len(t.data) {
			return nil, fmt.Errorf("tensor %q holds %d values, want %d", t.name, len(data[t.name]), len(t.data))
		}
	}
	if shape.Atoms == 0 {
		h.atoms = nil
	}
	if f.Value(keyProbe) == nil {
		return h, nil
	}
	p := &Probe{Tokens: value[[]int32](&m, "probe.tokens"), States: data[probeTensor]}
	n := len(p.States) / max(schema.Width, 1)
	if p.From = len(p.Tokens) - n; m.err != nil || n == 0 || p.From < 0 || n*schema.Width != len(p.States) {
		return nil, errors.New("its probe does not fit its features")
	}
	h.probe = p
	return h, nil
}

// namedTensor is a tensor of a head's file, [rows][cols].
type namedTensor struct {
	name       string
	rows, cols int
	data       []float32
}

// named are all tensors of the head: scales, atoms and parameters.
func (h *Head) named() []namedTensor {
	var out []namedTensor
	vector := func(name string, data []float32) {
		if len(data) > 0 {
			out = append(out, namedTensor{name, 1, len(data), data})
		}
	}
	vector("input.mean", h.input.mean)
	vector("input.inverse_scale", h.input.inverse)
	vector("prompt.mean", h.prompt.mean)
	vector("prompt.inverse_scale", h.prompt.inverse)
	vector("atoms", h.atoms)
	vector(centreTensor, h.features.centre)
	vector(tokensTensor, h.tokens)
	out = append(out, h.squash.named(squashTensor)...)
	if h.advantages != nil {
		out = append(out, h.advantages.named()...)
	}
	for k, params := range h.members() {
		prefix := ""
		if k > 0 {
			prefix = fmt.Sprintf("member.%d.", k)
		}
		for i, part := range parts(h.model, params) {
			t := h.model.tensors()[i]
			out = append(out, namedTensor{prefix + t.name, t.rows, t.cols, part})
		}
	}
	return out
}

// metadata reads typed values under the head's prefix and remembers the first error.
type metadata struct {
	f   *gguf.File
	err error
}

func value[T any](m *metadata, key string) T {
	v, ok := m.f.Value(prefix + key).(T)
	if !ok && m.err == nil {
		m.err = fmt.Errorf("%s%s is missing or of another type", prefix, key)
	}
	return v
}

// fileChecksum covers every value but itself: GGUF has no checksum of its own.
type fileChecksum struct{ digest *xxhash.Digest }

func newChecksum() fileChecksum { return fileChecksum{xxhash.New()} }

func (c fileChecksum) kv(kv gguf.KV) {
	verb := "%v"
	if _, ok := kv.Value.([]string); ok {
		verb = "%q" // keeps ["a b"] apart from ["a" "b"]
	}
	fmt.Fprintf(c.digest, "%q=%T:"+verb+"\n", kv.Key, kv.Value, kv.Value)
}

func (c fileChecksum) floats(name string, x []float32) {
	fmt.Fprintf(c.digest, "%s[%d]\n", name, len(x))
	var b [4]byte
	for _, v := range x {
		binary.LittleEndian.PutUint32(b[:], math.Float32bits(v))
		c.digest.Write(b[:])
	}
}

func blockNames(blocks []Block) []string {
	names := []string{}
	for _, b := range blocks {
		names = append(names, string(b))
	}
	return names
}

func int32s(x []int) []int32 {
	out := []int32{}
	for _, v := range x {
		out = append(out, int32(v))
	}
	return out
}

func ints(x []int32) []int {
	out := []int{}
	for _, v := range x {
		out = append(out, int(v))
	}
	return out
}
