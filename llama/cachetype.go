package llama

// CacheType is the storage format of the KV cache (enum ggml_type), by llama.cpp's names for
// --cache-type-k and -v.
type CacheType int32

const (
	CacheF16 CacheType = iota // the default
	CacheF32                  // exact
	CacheBF16
	CacheQ8_0 // half of F16; the quantized ones need heads of a multiple of 32
	CacheQ5_1
	CacheQ5_0
	CacheQ4_1
	CacheQ4_0 // a quarter of F16, and some
	CacheIQ4_NL
)

// cacheFormats are ggml's number of each type, and the bytes that a block of so many
// values takes.
var cacheFormats = [...]struct {
	ggml         int32
	bytes, block int
}{
	CacheF16: {1, 2, 1}, CacheF32: {0, 4, 1}, CacheBF16: {30, 2, 1}, CacheQ8_0: {8, 34, 32}, CacheQ5_1: {7, 24, 32},
	CacheQ5_0: {6, 22, 32}, CacheQ4_1: {3, 20, 32}, CacheQ4_0: {2, 18, 32}, CacheIQ4_NL: {20, 18, 32},
}

func (t CacheType) known() bool { return t >= 0 && int(t) < len(cacheFormats) }

// ggml, block and size take known types only.
func (t CacheType) ggml() int32 { return cacheFormats[t].ggml }

func (t CacheType) block() int { return cacheFormats[t].block }

// size is the number of bytes of n values.
func (t CacheType) size(n uint64) uint64 {
	f := cacheFormats[t]
	return n / uint64(f.block) * uint64(f.bytes)
}
