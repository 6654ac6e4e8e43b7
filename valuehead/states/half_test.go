package states

import (
	"math"
	"testing"
)

// Every finite half survives the way there and back, and the midpoint between two
// neighbours goes to the even one: together they pin round-to-nearest-even.
func TestHalf(t *testing.T) {
	for h := range uint16(0x7c00) {
		v := fromHalf(h)
		want := float32(h&0x3ff) * 0x1p-24
		if e := h >> 10; e > 0 {
			want = float32(math.Ldexp(1+float64(h&0x3ff)/1024, int(e)-15))
		}
		if v != want {
			t.Fatalf("fromHalf(%#x) = %g, want %g", h, v, want)
		}
		if toHalf(v) != h || toHalf(-v) != h|0x8000 {
			t.Fatalf("%#x (%g) becomes %#x", h, v, toHalf(v))
		}
		if h == 0x7bff {
			continue
		}
		mid := (v + fromHalf(h+1)) / 2
		if even := h + h&1; toHalf(mid) != even {
			t.Fatalf("%g, between %#x and %#x, becomes %#x", mid, h, h+1, toHalf(mid))
		}
		if up := math.Nextafter32(mid, 1e9); toHalf(up) != h+1 {
			t.Fatalf("%g becomes %#x, want %#x", up, toHalf(up), h+1)
		}
	}
	for _, v := range []float32{65504, 65519, 65520, 1e9, math.MaxFloat32} {
		if got := fromHalf(toHalf(-v)); got != -maxHalf {
			t.Errorf("%g is stored as %g, want clamped to %d", -v, got, -maxHalf)
		}
	}
}
