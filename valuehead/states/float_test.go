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
}

// through is v after it was stored.
func through(f Float, v float32) float32 {
	b, out := make([]byte, f.size()), make([]float32, 1)
	f.split(b, []float32{v})
	cut, _ := planes(b, 1, f.size())
	f.join(out, cut)
	return out[0]
}

// What fits stays finite, within half a unit of the type's precision; what does not fit
// would have become infinite.
func TestFloatLimits(t *testing.T) {
	for f, test := range map[Float]struct {
		last  float32 // that fits
		stays float32 // what it becomes
	}{
		F16:  {math.Nextafter32(65520, 0), maxHalf},
		BF16: {math.Float32frombits(0x7f7f7fff), math.Float32frombits(0x7f7f0000)},
		F32:  {math.MaxFloat32, math.MaxFloat32},
	} {
		for _, sign := range []float32{1, -1} {
			if _, ok := f.fits([]float32{0, sign * test.last}); !ok {
				t.Errorf("%s refuses %g", f, sign*test.last)
			}
			if got := through(f, sign*test.last); got != sign*test.stays {
				t.Errorf("%s makes %g of %g, want %g", f, got, sign*test.last, sign*test.stays)
			}
			over := math.Nextafter32(sign*test.last, sign*float32(math.Inf(1)))
			if i, ok := f.fits([]float32{0, over}); ok || i != 1 {
				t.Errorf("%s takes %g", f, over)
			}
		}
		if _, ok := f.fits([]float32{float32(math.NaN())}); ok {
			t.Errorf("%s takes NaN", f)
		}
	}
}

// A bfloat16 has the upper half of a float32's bits; the rest is rounded to nearest, ties
// to even.
func TestBF16(t *testing.T) {
	for h := range uint32(0x7f80) {
		v := math.Float32frombits(h << 16)
		if got := through(BF16, -v); got != -v {
			t.Fatalf("%g becomes %g", -v, got)
		}
		if h == 0x7f7f {
			continue
		}
		even := math.Float32frombits((h + h&1) << 16)
		if got := through(BF16, math.Float32frombits(h<<16|0x8000)); got != even {
			t.Fatalf("the middle behind %g becomes %g, want %g", v, got, even)
		}
		if got, up := through(BF16, math.Float32frombits(h<<16|0x8001)), math.Float32frombits((h+1)<<16); got != up {
			t.Fatalf("behind the middle behind %g comes %g, want %g", v, got, up)
		}
	}
}

// The processor's conversions, where it has some, are those above.
func TestHalfAtOnce(t *testing.T) {
	var src []float32
	for h := range uint16(0x7c00) {
		v := fromHalf(h)
		src = append(src, v, -v)
		if h < 0x7bff {
			mid := (v + fromHalf(h+1)) / 2
			src = append(src, mid, -mid, math.Nextafter32(mid, 0), math.Nextafter32(mid, 1e9))
		}
	}
	src = append(src, 1e-45, -1e-40, 1e-10)
	lo, hi := make([]byte, len(src)), make([]byte, len(src))
	n := splitHalf(lo, hi, src)
	for i, v := range src[:n] {
		if h := toHalf(v); lo[i] != byte(h) || hi[i] != byte(h>>8) {
			t.Fatalf("%g becomes %#x%02x, want %#x", v, hi[i], lo[i], h)
		}
	}
	if n > 0 && n < len(src)-16 {
		t.Fatalf("%d of %d were converted", n, len(src))
	}
	back := make([]float32, n)
	for i, v := range back[:joinHalf(back, lo[:n], hi[:n])] {
		if want := fromHalf(uint16(lo[i]) | uint16(hi[i])<<8); v != want {
			t.Fatalf("%#x%02x becomes %g, want %g", hi[i], lo[i], v, want)
		}
	}
}
