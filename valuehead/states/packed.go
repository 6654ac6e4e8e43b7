package states

import (
	"encoding/binary"
	"math/bits"
)

// A plane of upper bytes of half-precision numbers, a sign, five bits of exponent and two of mantissa each, is packed
// in seven bits a number: of the exponent four are kept, above a least one that the plane has. The few that lie outside
// are written as they are, behind. A Huffman code of both planes is 6 % smaller, and takes twice the time with all
// that is done beside it.
//
//	packedMark u8, least exponent u8,
//	of every eight bytes 56 bits, the first one's lowest: sign << 6 | (exponent - least) << 2 | mantissa of each,
//	    with 15 for the exponent, and 0 for the others, of a byte that is written behind,
//	the bytes beyond a multiple of eight, the bytes that are written behind, in their order
const (
	packedMark  = 'P' // no zstd frame begins so
	packedHead  = 2
	packedWord  = 7 // bytes of eight numbers
	leastPacked = 1 << 8
	outside     = 15 // the exponent of what is written behind; lesser ones are offsets

	each = 0x0101010101010101 // in all eight bytes of a word
	high = 0x80 * each
	sign = 1 << 6 * each // as it is packed
)

// sampled bytes tell what suits a plane.
const sampled = 1 << 10

// plan is what suits a plane.
type plan struct {
	raw    bool // nothing shrinks it
	packed bool // packing does
	least  int  // exponent that is packed
}

// planOf looks at bytes all over a plane.
func planOf(plane []byte) plan {
	if len(plane) < leastPacked {
		return plan{}
	}
	var counts [256]int
	step := len(plane)/sampled | 1 // odd, or a row's width may divide it
	n := 0
	for i := 0; i < len(plane); i += step {
		counts[plane[i]]++
		n++
	}
	var exponents [32 + outside]int
	alike := 0 // pairs of the sample
	for b, c := range counts {
		alike += c * (c - 1)
		exponents[b>>2&31] += c
	}
	pairs := n * (n - 1)
	if 256*alike < pairs+pairs/10 { // as of noise, within five standard deviations
		return plan{raw: true}
	}
	least, most := 0, 0
	for e := range 32 {
		in := 0
		for _, c := range exponents[e : e+outside] {
			in += c
		}
		if in > most {
			least, most = e, in
		}
	}
	// Where pairs are much more often alike than those of normal numbers, one in fifty, a Huffman code is far smaller.
	return plan{packed: 100*most >= 97*n && 26*alike < pairs, least: least}
}

// appendPacked appends the packed plane to dst.
func appendPacked(dst, plane []byte, least int) []byte {
	words, from := len(plane)/8, len(dst)
	behind := packedHead + packedWord*words
	need := behind + len(plane)%8 + len(plane) // if all are written behind
	if cap(dst)-from < need {
		dst = append(make([]byte, 0, 2*from+need), dst...)
	}
	out := dst[from : from+need]
	out[0], out[1] = packedMark, byte(least)
	behind += copy(out[behind:], plane[8*words:])
	shift := uint64(least) * each
	for i := range words {
		x := binary.LittleEndian.Uint64(plane[8*i:])
		t := (x>>2&(31*each) | high) - shift // 128 + exponent - least
		bad := (^t | ((t &^ high) + (128-outside)*each)) & high
		c := x>>1&sign | t<<2&(outside<<2*each) | x&(3*each)
		if bad != 0 {
			lanes := bad >> 7 * 0xff
			c = c&^lanes | (outside<<2*each)&lanes
			for ; bad != 0; bad &= bad - 1 {
				out[behind] = byte(x >> (bits.TrailingZeros64(bad) &^ 7))
				behind++
			}
		}
		c = c&0x007f007f007f007f | c&0x7f007f007f007f00>>1
		c = c&0x00003fff00003fff | c&0x3fff00003fff0000>>2
		c = c&0x000000000fffffff | c&0x0fffffff00000000>>4
		if at := packedHead + packedWord*i; i < words-1 {
			binary.LittleEndian.PutUint64(out[at:], c) // the next word's first byte is written again
		} else {
			var last [8]byte
			binary.LittleEndian.PutUint64(last[:], c)
			copy(out[at:], last[:packedWord])
		}
	}
	return dst[:from+behind]
}

// readPacked fills a plane from what appendPacked made of it; ok is false of anything else.
func readPacked(plane, in []byte) (ok bool) {
	words := len(plane) / 8
	behind := packedHead + packedWord*words + len(plane)%8
	if len(in) < behind || in[0] != packedMark || in[1] > 31 {
		return false
	}
	copy(plane[8*words:], in[packedHead+packedWord*words:behind])
	shift, rest := uint64(in[1])*each, in[behind:]
	for i := range words {
		var c uint64
		if at := packedHead + packedWord*i; i < words-1 {
			c = binary.LittleEndian.Uint64(in[at:]) & (1<<56 - 1)
		} else {
			var last [8]byte
			copy(last[:packedWord], in[at:])
			c = binary.LittleEndian.Uint64(last[:])
		}
		c = c&0x000000000fffffff | c<<4&0x0fffffff00000000
		c = c&0x00003fff00003fff | c<<2&0x3fff00003fff0000
		c = c&0x007f007f007f007f | c<<1&0x7f007f007f007f00
		t := c >> 2 & (outside * each)
		bad := (t + each) & (16 * each)
		x := c&sign<<1 | (t+shift)&(31*each)<<2 | c&(3*each)
		if bad != 0 {
			x &^= bad >> 4 * 0xff
			for ; bad != 0; bad &= bad - 1 {
				if len(rest) == 0 {
					return false
				}
				x |= uint64(rest[0]) << (bits.TrailingZeros64(bad) &^ 7)
				rest = rest[1:]
			}
		}
		binary.LittleEndian.PutUint64(plane[8*i:], x)
	}
	return len(rest) == 0
}
