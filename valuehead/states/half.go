package states

import "math"

const maxHalf = 65504

// toHalf rounds a finite number to IEEE half precision, to nearest, ties to even. What
// lies beyond the range is clamped to +-65504.
func toHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	abs := math.Float32frombits(b &^ (1 << 31))
	switch {
	case abs >= maxHalf:
		return sign | 0x7bff
	case abs < 0x1p-14:
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
