package valuehead

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// FileType is the value of general.type in a value head's GGUF file.
const FileType = "ivo.valuehead"

const (
	fileVersion = 1
	prefix      = "ivo.valuehead."
	keyType     = "general.type"
	keyChecksum = prefix + "checksum"
	hintHead    = "train the head again with ivo iterate, or copy the file anew"
)

// Save writes the head as a GGUF file of its own, whole or not at all.
func (h *Head) Save(path string) error {
	s, o := h.features.schema, h.features.options
	kvs := []gguf.KV{
		{Key: keyType, Value: FileType},
		{Key: "general.architecture", Value: "ivo-valuehead"},
		{Key: prefix + "version", Value: uint32(fileVersion)},
		{Key: prefix + "kind", Value: string(h.kind)},
		{Key: prefix + "hidden", Value: uint32(h.hidden)},
		{Key: prefix + "backbone", Value: s.Backbone},
		{Key: prefix + "layers", Value: int32s(s.Layers)},
		{Key: prefix + "width", Value: uint32(s.Width)},
		{Key: prefix + "scalars", Value: s.Scalars},
		{Key: prefix + "features.layers", Value: int32s(o.Layers)},
		{Key: prefix + "features.scalars", Value: o.Scalars},
		{Key: prefix + "features.blocks", Value: blockNames(o.Blocks)},
		{Key: prefix + "reward.mean", Value: h.rewardMean},
		{Key: prefix + "reward.scale", Value: h.rewardScale},
		{Key: prefix + "train.trajectories", Value: uint32(h.summary.Trajectories)},
		{Key: prefix + "train.prompts", Value: uint32(h.summary.Prompts)},
		{Key: prefix + "train.states", Value: uint64(h.summary.States)},
		{Key: prefix + "train.held_out", Value: uint32(h.summary.HeldOut)},
		{Key: prefix + "train.epochs", Value: uint32(h.summary.Epochs)},
		{Key: prefix + "train.seed", Value: h.summary.Seed},
		{Key: prefix + "train.warm_start", Value: h.summary.WarmStart},
		{Key: prefix + "train.r2", Value: h.summary.R2},
		{Key: prefix + "train.r2_last", Value: h.summary.R2Last},
		{Key: prefix + "train.spearman", Value: h.summary.Spearman},
	}
	width := uint64(h.features.width)
	tensors := []gguf.Tensor{
		{Name: "input.mean", Shape: []uint64{width}, Data: h.mean},
		{Name: "input.inverse_scale", Shape: []uint64{width}, Data: h.inverse},
	}
	for i, part := range parts(h.model, h.params) {
		t := h.model.tensors()[i]
		tensors = append(tensors, gguf.Tensor{Name: t.name, Shape: []uint64{uint64(t.cols), uint64(t.rows)}, Data: part})
	}
	sum := newChecksum()
	for _, kv := range kvs {
		sum.kv(kv)
	}
	for _, t := range tensors {
		sum.floats(t.Name, t.Data)
	}
	return gguf.Write(path, append(kvs, gguf.KV{Key: keyChecksum, Value: sum.digest.Sum64()}), tensors)
}

// Load reads a head that Save wrote. Any damage is an error that names the file and ends
// in what to do.
func Load(path string) (*Head, error) {
	f, err := gguf.Read(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("valuehead: %w (check the path: ivo iterate writes a head to every round's folder of its run)", err)
		}
		return nil, fmt.Errorf("valuehead: %w", err)
	}
	fail := func(hint, format string, args ...any) (*Head, error) {
		return nil, fmt.Errorf("valuehead: %w", &gguf.Error{Path: path, Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
	if f.Str(keyType) != FileType {
		return fail("name a head that ivo iterate wrote; a model goes with -m", "is a GGUF file, but not a value head")
	}
	if v, _ := f.Int(prefix + "version"); v != fileVersion {
		return fail("train the head again, or use the ivo that wrote it", "head format version %d, this ivo reads %d", v, fileVersion)
	}
	h, err := decode(f)
	if err != nil {
		return fail(hintHead, "damaged value head: %v", err)
	}
	return h, nil
}

// decode builds the head from a file of the right type and version.
func decode(f *gguf.File) (*Head, error) {
	m := metadata{f: f}
	kind, hidden := Kind(value[string](&m, "kind")), int(value[uint32](&m, "hidden"))
	schema := states.Schema{
		Backbone: value[string](&m, "backbone"), Layers: ints(value[[]int32](&m, "layers")),
		Width: int(value[uint32](&m, "width")), Scalars: value[[]string](&m, "scalars"),
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
	checksum := value[uint64](&m, "checksum")
	if m.err != nil {
		return nil, m.err
	}

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
	if sum.digest.Sum64() != checksum {
		return nil, errors.New("its checksum does not fit")
	}

	features, err := NewFeatures(schema, options)
	if err != nil {
		return nil, err
	}
	// Before newHead allocates: no damaged width or hidden size asks for more than is there.
	if n := len(data["input.mean"]); n != features.width || len(data["input.inverse_scale"]) != n || hidden > len(data["hidden.bias"]) {
		return nil, errors.New("its tensors do not fit its features")
	}
	h, err := newHead(kind, hidden, features)
	if err != nil {
		return nil, err
	}
	h.mean, h.inverse = data["input.mean"], data["input.inverse_scale"]
	h.rewardMean, h.rewardScale, h.summary = rewardMean, rewardScale, summary
	for i, part := range parts(h.model, h.params) {
		t := h.model.tensors()[i]
		if copy(part, data[t.name]) != len(data[t.name]) || len(data[t.name]) != len(part) {
			return nil, fmt.Errorf("tensor %q holds %d values, want %d", t.name, len(data[t.name]), len(part))
		}
	}
	return h, nil
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
