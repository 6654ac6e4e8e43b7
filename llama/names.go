package llama

import (
	"fmt"
	"slices"
	"strings"
)

// cacheNames and flashNames are llama.cpp's names, by value.
var (
	cacheNames = []string{
		CacheF16: "f16", CacheF32: "f32", CacheBF16: "bf16", CacheQ8_0: "q8_0", CacheQ5_1: "q5_1",
		CacheQ5_0: "q5_0", CacheQ4_1: "q4_1", CacheQ4_0: "q4_0", CacheIQ4_NL: "iq4_nl",
	}
	flashNames = []string{"auto", "off", "on"}
)

// String is llama.cpp's name of the type.
func (t CacheType) String() string { return named(cacheNames, int(t)) }

// MarshalText gives the type's name, which UnmarshalText reads.
func (t CacheType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads a type's name, whatever its letters' case; none is the default.
func (t *CacheType) UnmarshalText(text []byte) error {
	i, err := find(cacheNames, "type of the KV cache", string(text))
	*t = CacheType(i)
	return err
}

// String is "auto", "on" or "off".
func (f FlashAttention) String() string { return named(flashNames, int(f)) }

// MarshalText gives the name, which UnmarshalText reads.
func (f FlashAttention) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the name, whatever its letters' case; none is the default.
func (f *FlashAttention) UnmarshalText(text []byte) error {
	i, err := find(flashNames, "mode of flash attention", string(text))
	*f = FlashAttention(i)
	return err
}

func named(names []string, i int) string {
	if i < 0 || i >= len(names) {
		return fmt.Sprint(i)
	}
	return names[i]
}

func find(names []string, what, text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	i := slices.Index(names, strings.ToLower(text))
	if i < 0 {
		return 0, fmt.Errorf("%q is no %s (give one of %s)", text, what, strings.Join(names, ", "))
	}
	return i, nil
}
