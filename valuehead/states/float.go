package states

import (
	"math"
	"slices"
)

// Float is a type of stored hidden states. Scalars are always float32.
type Float string

const (
	// F16 is IEEE half precision: 11 significant bits, up to 65504. Writers refuse what is
	// beyond.
	F16 Float = "f16"
	// BF16 is bfloat16: 8 significant bits with the range of float32, for models whose
	// states have outliers beyond half precision.
	BF16 Float = "bf16"
	// F32 is exact.
	F32 Float = "f32"
)

// size is the bytes of a number, 0 of an unknown type.
func (f Float) size() int {
	switch f {
	case F16, BF16:
		return 2
	case F32:
		return 4
	}
	return 0
}

const maxHalf = 65504

// fits returns the index of the first number that is not finite or would not stay
// finite, and whether there is none.
func (f Float) fits(rows []float32) (int, bool) {
	limit := uint32(0x7f800000) // infinity
	switch f {
	case F16:
		limit = math.Float32bits(65520) // halfway to the first half beyond maxHalf
	case BF16:
		limit = 0x7f7f8000
	}
	const size = 1<<31 - 1 // all bits but the sign
	var a, b, c, d uint32  // the largest of every fourth: they do not wait for one another
	rest := rows
	for ; len(rest) >= 4; rest = rest[4:] {
		a, b = max(a, math.Float32bits(rest[0])&size), max(b, math.Float32bits(rest[1])&size)
		c, d = max(c, math.Float32bits(rest[2])&size), max(d, math.Float32bits(rest[3])&size)
	}
	for _, v := range rest {
		a = max(a, math.Float32bits(v)&size)
	}
	if max(a, b, c, d) < limit {
		return 0, true
	}
	return slices.IndexFunc(rows, func(v float32) bool { return math.Float32bits(v)&^(1<<31) >= limit }), false
}

// A byte plane holds the k-th byte of every number: signs and exponents, which
// compress, are kept apart from mantissas, which hardly do.

// split writes src as f.size() byte planes of len(src) bytes to dst and returns what
// follows them there.
func (f Float) split(dst []byte, src []float32) []byte {
	n := len(src)
	switch f {
	case F16:
		lo, hi := dst[:n], dst[n:2*n]
		for i := splitHalf(lo, hi, src); i < n; i++ {
			h := toHalf(src[i])
			lo[i], hi[i] = byte(h), byte(h>>8)
		}
	case BF16:
		lo, hi := dst[:n], dst[n:2*n]
		for i, v := range src {
			b := math.Float32bits(v)
			b += 0x7fff + b>>16&1 // to nearest, ties to even
			lo[i], hi[i] = byte(b>>16), byte(b>>24)
		}
	case F32:
		for i, v := range src {
			put32(dst, i, n, math.Float32bits(v))
		}
	}
	return dst[f.size()*n:]
}

// join is the inverse of split; the planes are as many as the bytes of a number.
func (f Float) join(dst []float32, planes [][]byte) {
	n := len(dst)
	switch f {
	case F16:
		lo, hi := planes[0][:n], planes[1][:n]
		for i := joinHalf(dst, lo, hi); i < n; i++ {
			dst[i] = fromHalf(uint16(lo[i]) | uint16(hi[i])<<8)
		}
	case BF16:
		lo, hi := planes[0][:n], planes[1][:n]
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(lo[i])<<16 | uint32(hi[i])<<24)
		}
	case F32:
		a, b, c, d := planes[0][:n], planes[1][:n], planes[2][:n], planes[3][:n]
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(a[i]) | uint32(b[i])<<8 | uint32(c[i])<<16 | uint32(d[i])<<24)
		}
	}
}

// planes divides n numbers' planes of a byte of each from b.
func planes(b []byte, n, size int) (out [][]byte, rest []byte) {
	for range size {
		out, b = append(out, b[:n]), b[n:]
	}
	return out, b
}

// splitInts and joinInts are split and join of whole numbers.
func splitInts(dst []byte, src []int32) []byte {
	for i, v := range src {
		put32(dst, i, len(src), uint32(v))
	}
	return dst[4*len(src):]
}

func joinInts(dst []int32, src []byte) []byte {
	for i := range dst {
		dst[i] = int32(get32(src, i, len(dst)))
	}
	return src[4*len(dst):]
}

// put32 and get32 access number i of n in four byte planes.
func put32(planes []byte, i, n int, v uint32) {
	planes[i], planes[n+i], planes[2*n+i], planes[3*n+i] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

func get32(planes []byte, i, n int) uint32 {
	return uint32(planes[i]) | uint32(planes[n+i])<<8 | uint32(planes[2*n+i])<<16 | uint32(planes[3*n+i])<<24
}

// toHalf rounds a number below 65520 to half precision, to nearest, ties to even.
func toHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	abs := math.Float32frombits(b &^ (1 << 31))
	if abs < 0x1p-14 {
		// 0.5 has an ulp of 2^-24, the unit of half's subnormals: the sum rounds to it.
		return sign | uint16(math.Float32bits(abs+0.5)-math.Float32bits(0.5))
	}
	b = math.Float32bits(abs)
	b += 0xfff + b>>13&1
	return sign | uint16(b>>13-112<<10)
}

// fromHalf widens a finite half-precision number.
func fromHalf(h uint16) float32 {
	v := math.Float32frombits(uint32(h&0x7fff)<<13) * 0x1p112 // moves the exponent's bias
	return math.Float32frombits(math.Float32bits(v) | uint32(h&0x8000)<<16)
}
