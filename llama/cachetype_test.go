package llama_test

import (
	"math"
	"testing"

	"github.com/ivo-decoding/ivo/internal/gguf"
	"github.com/ivo-decoding/ivo/llama"
)

// Every type of cache decodes to nearly what an exact cache gives, the closer the more bits
// it has, and takes the memory that is estimated for it.
func TestCacheTypes(t *testing.T) {
	path := randomModel(t, "llama", 3, func(kvs []gguf.KV, ts []gguf.Tensor) ([]gguf.KV, []gguf.Tensor) {
		for i := range kvs { // heads of 32
			switch kvs[i].Key {
			case "llama.attention.head_count", "llama.attention.head_count_kv":
				kvs[i].Value = uint32(testWidth / 32)
			case "llama.rope.dimension_count":
				kvs[i].Value = uint32(32)
			}
		}
		return kvs, ts
	})
	m := load(t, path)
	logits := func(k, v llama.CacheType) []float32 {
		l, _ := feed(t, newContext(t, m, llama.ContextParams{CacheK: k, CacheV: v, Flash: llama.FlashOn}), 0, 0, 10, 20, 30, 40, 50, 60, 70, 80)
		return l
	}
	want := logits(llama.CacheF32, llama.CacheF32)
	for _, test := range []struct {
		name  string
		cache llama.CacheType
		bits  float64
		least float64 // correlation with the exact logits
	}{
		{"f16", llama.CacheF16, 16, 0.9999}, {"bf16", llama.CacheBF16, 16, 0.999}, {"q8_0", llama.CacheQ8_0, 8.5, 0.999},
		{"q5_1", llama.CacheQ5_1, 6, 0.98}, {"q5_0", llama.CacheQ5_0, 5.5, 0.98}, {"q4_1", llama.CacheQ4_1, 5, 0.95},
		{"q4_0", llama.CacheQ4_0, 4.5, 0.95}, {"iq4_nl", llama.CacheIQ4_NL, 4.5, 0.95},
	} {
		for _, kv := range [][2]llama.CacheType{{test.cache, llama.CacheF16}, {llama.CacheF16, test.cache}, {test.cache, test.cache}} {
			if r := correlation(logits(kv[0], kv[1]), want); r < test.least {
				t.Errorf("%s in %v: correlation %.5f with the exact logits", test.name, kv, r)
			}
		}
		f, err := gguf.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		e, err := llama.EstimateMemory(f, llama.ContextParams{Ctx: 1024, CacheK: test.cache, CacheV: test.cache})
		if want := 1024 * testLayers * testWidth * 2 * test.bits / 8; err != nil || float64(e.Cache) != want {
			t.Errorf("%s: a cache of %d bytes, want %.0f, %v", test.name, e.Cache, want, err)
		}
	}
	for _, p := range []llama.ContextParams{{CacheV: llama.CacheQ4_0, Flash: llama.FlashOff}, {CacheK: 99}, {CacheV: -1}} {
		if c, err := m.NewContext(p); err == nil {
			c.Close()
			t.Errorf("%+v passed", p)
		}
	}
}

func correlation(a, b []float32) float64 {
	var sa, sb, saa, sbb, sab float64
	for i := range a {
		x, y := float64(a[i]), float64(b[i])
		sa, sb, saa, sbb, sab = sa+x, sb+y, saa+x*x, sbb+y*y, sab+x*y
	}
	n := float64(len(a))
	return (sab - sa*sb/n) / math.Sqrt((saa-sa*sa/n)*(sbb-sb*sb/n))
}
