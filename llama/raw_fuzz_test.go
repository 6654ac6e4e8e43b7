package llama_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/ivo-decoding/ivo/internal/gguf"
)

// rawFile is a GGUF file whose every field can be made wrong.
type rawFile struct {
	magic        string
	version      uint32
	tensorsMore  int64 // added to the counts that the header claims
	kvsMore      int64
	kvs          []rawKV
	tensors      []rawTensor
	alignment    int
	cut          int  // bytes taken off the end
	offsetsMoved bool // the tensors' own offsets are written, not those of their data
}

// rawKV is a metadata entry as bytes: after the key comes typ and then value, which
// for an array starts with its element type and count.
type rawKV struct {
	key   string
	typ   gguf.Type
	value []byte
}

// rawTensor is an entry of the directory and its data.
type rawTensor struct {
	name   string
	dims   []uint64
	typ    uint32
	offset uint64
	data   []byte
}

func le(v any) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func rawString(s string) []byte { return append(le(uint64(len(s))), s...) }

// newKV encodes a value of a type that gguf.Write knows.
func newKV(key string, value any) rawKV {
	array := func(t gguf.Type, n int, data []byte) rawKV {
		return rawKV{key, gguf.Array, slices.Concat(le(uint32(t)), le(uint64(n)), data)}
	}
	switch v := value.(type) {
	case string:
		return rawKV{key, gguf.String, rawString(v)}
	case bool:
		return rawKV{key, gguf.Bool, le(v)}
	case uint8:
		return rawKV{key, gguf.Uint8, le(v)}
	case int8:
		return rawKV{key, gguf.Int8, le(v)}
	case uint16:
		return rawKV{key, gguf.Uint16, le(v)}
	case uint32:
		return rawKV{key, gguf.Uint32, le(v)}
	case int32:
		return rawKV{key, gguf.Int32, le(v)}
	case uint64:
		return rawKV{key, gguf.Uint64, le(v)}
	case int64:
		return rawKV{key, gguf.Int64, le(v)}
	case float32:
		return rawKV{key, gguf.Float32, le(v)}
	case float64:
		return rawKV{key, gguf.Float64, le(v)}
	case []string:
		var data []byte
		for _, s := range v {
			data = append(data, rawString(s)...)
		}
		return array(gguf.String, len(v), data)
	case []float32:
		return array(gguf.Float32, len(v), le(v))
	case []int32:
		return array(gguf.Int32, len(v), le(v))
	case []uint32:
		return array(gguf.Uint32, len(v), le(v))
	case []uint8:
		return array(gguf.Uint8, len(v), v)
	case []int64:
		return array(gguf.Int64, len(v), le(v))
	case []bool:
		return array(gguf.Bool, len(v), le(v))
	}
	panic(fmt.Sprintf("%s: %T", key, value))
}

// newRaw encodes a whole model.
func newRaw(kvs []gguf.KV, tensors []gguf.Tensor) rawFile {
	f := rawFile{magic: "GGUF", version: 3, alignment: 32}
	for _, kv := range kvs {
		f.kvs = append(f.kvs, newKV(kv.Key, kv.Value))
	}
	for _, t := range tensors {
		f.tensors = append(f.tensors, rawTensor{name: t.Name, dims: t.Shape, data: le(t.Data)})
	}
	return f
}

// rawBase is an undamaged model; each call gives a copy that may be changed.
func rawBase(base string) *rawFile {
	f := rawBases()[base]
	f.kvs, f.tensors = slices.Clone(f.kvs), slices.Clone(f.tensors)
	return &f
}

var rawBases = sync.OnceValue(func() map[string]rawFile {
	bases := make(map[string]rawFile)
	for _, name := range fuzzBases {
		bases[name] = newRaw(fuzzModel(name))
	}
	bases[adapterBase] = newRaw(fuzzAdapter())
	return bases
})

// header is the part before the data.
func (f *rawFile) header() []byte {
	b := []byte(f.magic)
	b = append(b, le(f.version)...)
	b = append(b, le(int64(len(f.tensors))+f.tensorsMore)...)
	b = append(b, le(int64(len(f.kvs))+f.kvsMore)...)
	for _, kv := range f.kvs {
		b = slices.Concat(b, rawString(kv.key), le(uint32(kv.typ)), kv.value)
	}
	offset := uint64(0)
	for _, t := range f.tensors {
		at := offset
		if f.offsetsMoved {
			at = t.offset
		}
		b = slices.Concat(b, rawString(t.name), le(uint32(len(t.dims))), le(t.dims), le(t.typ), le(at))
		offset += uint64(f.padded(len(t.data)))
	}
	return b
}

func (f *rawFile) padded(n int) int { return (n + f.alignment - 1) / f.alignment * f.alignment }

// bytes is the file.
func (f *rawFile) bytes() []byte {
	b := f.header()
	b = append(b, make([]byte, f.padded(len(b))-len(b))...)
	for _, t := range f.tensors {
		b = append(b, t.data...)
		b = append(b, make([]byte, f.padded(len(t.data))-len(t.data))...)
	}
	return b[:max(0, len(b)-f.cut)]
}

// kv finds an entry whose key ends in suffix.
func (f *rawFile) kv(suffix string) *rawKV {
	for i := range f.kvs {
		if k := f.kvs[i].key; k == suffix || len(k) > len(suffix) && k[len(k)-len(suffix)-1:] == "."+suffix {
			return &f.kvs[i]
		}
	}
	return nil
}

// set replaces the value of a key, or adds it.
func (f *rawFile) set(key string, value any) {
	for i := range f.kvs {
		if f.kvs[i].key == key {
			f.kvs[i] = newKV(key, value)
			return
		}
	}
	f.kvs = append(f.kvs, newKV(key, value))
}

// drop removes a key.
func (f *rawFile) drop(key string) {
	f.kvs = slices.DeleteFunc(f.kvs, func(kv rawKV) bool { return kv.key == key })
}

func (f *rawFile) tensor(name string) *rawTensor {
	i := slices.IndexFunc(f.tensors, func(t rawTensor) bool { return t.name == name })
	return &f.tensors[i]
}

// fill makes data of the right size for the tensor's shape and type, if that is small.
func (t *rawTensor) fill() {
	sizes := map[uint32][2]uint64{0: {1, 4}, 1: {1, 2}, 2: {32, 18}, 3: {32, 20}, 6: {32, 22}, 7: {32, 24}, 8: {32, 34}, 9: {32, 36},
		20: {32, 18}, 24: {1, 1}, 25: {1, 2}, 26: {1, 4}, 27: {1, 8}, 28: {1, 8}, 30: {1, 2}, 39: {32, 17}}
	size, ok := sizes[t.typ]
	n := uint64(1)
	for _, d := range t.dims {
		if d > 1<<20 {
			return
		}
		n *= d
	}
	if !ok || n > 1<<20 {
		return
	}
	data := make([]byte, n/size[0]*size[1])
	copy(data, t.data)
	t.data = data
}

// random is fill with random weights.
func (t *rawTensor) random() {
	t.data = nil
	t.fill()
	rng := newRand()
	for i := 0; i+4 <= len(t.data); i += 4 {
		copy(t.data[i:], le(float32(0.2*rng.NormFloat64())))
	}
}

func newRand() *rand.Rand { return rand.New(rand.NewPCG(9, 9)) }

var nan32 = math.Float32frombits(0x7fc00000)

// tokens are the texts of the vocabulary.
func (f *rawFile) tokens() []string {
	var tokens []string
	for b := f.kv("ggml.tokens").value[12:]; len(b) > 0; {
		n := int(b[0]) + int(b[1])<<8
		tokens = append(tokens, string(b[8:8+n]))
		b = b[8+n:]
	}
	return tokens
}
