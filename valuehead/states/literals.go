package states

import (
	"encoding/binary"
	"sync"

	"github.com/klauspost/compress/huff0"
)

// A byte plane is a zstd frame (RFC 8878) of one block that holds literals alone, Huffman coded in four streams: planes
// of numbers hold next to no matches, and looking for some is most of what a compressor does with them.
//
//	magic u32, frame header descriptor (single segment, content size in four bytes) u8, content size u32,
//	block header (last, compressed, its size) u24,
//	literals section header (compressed, 18 bits for each size) 40 bits, the literals,
//	number of sequences 0 u8
const (
	frameMagic      = 0xfd2fb528
	frameDescriptor = 2<<6 | 1<<5
	literalsHead    = 4 + 1 + 4 + 3 + 5
	leastLiterals   = 1 << 8
	mostLiterals    = 1 << 17 // a block's
)

var huffman = sync.Pool{New: func() any { return &huff0.Scratch{WantLogLess: 5} }}

// appendLiterals appends the frame of a plane to dst; ok is false where literals alone do not shrink it.
func appendLiterals(dst, plane []byte) (out []byte, ok bool) {
	if len(plane) < leastLiterals || len(plane) > mostLiterals {
		return dst, false
	}
	s := huffman.Get().(*huff0.Scratch)
	defer huffman.Put(s)
	s.Reuse = huff0.ReusePolicyNone
	s.Out = s.Out[:0]
	packed, _, err := huff0.Compress4X(plane, s)
	if err != nil || len(packed)+literalsHead+1 >= len(plane) {
		return dst, false
	}
	n, m := uint64(len(plane)), uint64(len(packed))
	dst = binary.LittleEndian.AppendUint32(dst, frameMagic)
	dst = append(dst, frameDescriptor)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(n))
	block := uint32(5+m+1)<<3 | 2<<1 | 1
	dst = append(dst, byte(block), byte(block>>8), byte(block>>16))
	head := m<<22 | n<<4 | 3<<2 | 2
	dst = append(dst, byte(head), byte(head>>8), byte(head>>16), byte(head>>24), byte(head>>32))
	dst = append(dst, packed...)
	return append(dst, 0), true
}

// readLiterals fills a plane from the frame that appendLiterals made of it; ok is false of any other frame.
func readLiterals(plane, frame []byte) (ok bool) {
	n, m := len(plane), len(frame)-literalsHead-1
	if m < 1 || n > mostLiterals || binary.LittleEndian.Uint32(frame) != frameMagic || frame[4] != frameDescriptor ||
		binary.LittleEndian.Uint32(frame[5:]) != uint32(n) || frame[len(frame)-1] != 0 {
		return false
	}
	block := uint32(frame[9]) | uint32(frame[10])<<8 | uint32(frame[11])<<16
	head := uint64(binary.LittleEndian.Uint32(frame[12:])) | uint64(frame[16])<<32
	if block != uint32(5+m+1)<<3|2<<1|1 || head != uint64(m)<<22|uint64(n)<<4|3<<2|2 {
		return false
	}
	s := huffman.Get().(*huff0.Scratch)
	defer huffman.Put(s)
	s, rest, err := huff0.ReadTable(frame[literalsHead:len(frame)-1], s)
	if err != nil {
		return false
	}
	out, err := s.Decoder().Decompress4X(plane[:n:n], rest)
	return err == nil && len(out) == n
}
