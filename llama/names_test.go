package llama_test

import (
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

func TestNames(t *testing.T) {
	for c := llama.CacheF16; c <= llama.CacheIQ4_NL; c++ {
		text, err := c.MarshalText()
		var back llama.CacheType
		if err != nil || back.UnmarshalText(text) != nil || back != c {
			t.Errorf("cache type %d: %s, %v, %v", c, text, err, back)
		}
	}
	for _, f := range []llama.FlashAttention{llama.FlashAuto, llama.FlashOff, llama.FlashOn} {
		text, err := f.MarshalText()
		var back llama.FlashAttention
		if err != nil || back.UnmarshalText(text) != nil || back != f {
			t.Errorf("flash attention %d: %s, %v, %v", f, text, err, back)
		}
	}
	var c llama.CacheType
	if c.UnmarshalText([]byte("Q8_0")) != nil || c != llama.CacheQ8_0 || c.UnmarshalText([]byte("q9")) == nil {
		t.Error("names")
	}
}
