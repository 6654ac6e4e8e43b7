package sheet_test

import (
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/sheet"
)

func TestWrite(t *testing.T) {
	var b strings.Builder
	s := sheet.Sheet{{"name", "a\x1b[2J"}, {"layers, all", 12}}
	if err := s.Write(&b); err != nil || b.String() != "name         a\uFFFD[2J\nlayers, all  12\n" {
		t.Errorf("%q: %v", b.String(), err)
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[uint64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 30: "1.0 GiB", 3 << 49: "1536.0 TiB"} {
		if got := sheet.Size(n); got != want {
			t.Errorf("%d bytes: %s, not %s", n, got, want)
		}
	}
	for n, want := range map[uint64]string{999_999: "999999", 1_197_440: "1.20 million", 7_240_000_000: "7.24 billion"} {
		if got := sheet.Count(n); got != want {
			t.Errorf("%d: %s, not %s", n, got, want)
		}
	}
}
