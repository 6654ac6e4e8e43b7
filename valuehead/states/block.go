package states

import (
	"encoding/binary"
	"errors"
	"math"
)

// A block's payload, before compression, holds its trajectories column by column:
//
//	per trajectory: prompt (uvarint length, bytes), sample (uvarint), reward (f32), T (uvarint)
//	tokens  i32, 4 byte planes
//	scalars f32, 4 byte planes
//	hidden  f16, 2 byte planes
//
// A byte plane holds the k-th byte of every element: signs and exponents, which
// compress, are kept apart from mantissas, which do not.

// appendBlock encodes trajectories, which have been checked against the schema.
func appendBlock(dst []byte, trajectories []Trajectory) []byte {
	var tokens, scalars, hidden int
	for i := range trajectories {
		t := &trajectories[i]
		dst = binary.AppendUvarint(dst, uint64(len(t.Prompt)))
		dst = append(dst, t.Prompt...)
		dst = binary.AppendUvarint(dst, uint64(t.Sample))
		dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(t.Reward))
		dst = binary.AppendUvarint(dst, uint64(len(t.Tokens)))
		tokens += len(t.Tokens)
		scalars += len(t.Scalars)
		hidden += len(t.Hidden)
	}
	head := len(dst)
	dst = append(dst, make([]byte, 4*tokens+4*scalars+2*hidden)...)
	tok, rest := dst[head:head+4*tokens], dst[head+4*tokens:]
	sca, hid := rest[:4*scalars], rest[4*scalars:]
	var it, is, ih int
	for i := range trajectories {
		t := &trajectories[i]
		for _, v := range t.Tokens {
			put32(tok, it, tokens, uint32(v))
			it++
		}
		for _, v := range t.Scalars {
			put32(sca, is, scalars, math.Float32bits(v))
			is++
		}
		lo, hi := hid[:hidden], hid[hidden:]
		for _, v := range t.Hidden {
			h := toHalf(v)
			lo[ih], hi[ih] = byte(h), byte(h>>8)
			ih++
		}
	}
	return dst
}

var errPayload = errors.New("the payload does not hold what the block's header says")

// parseBlock decodes a payload of count trajectories.
func parseBlock(b []byte, count int, s Schema) ([]Trajectory, error) {
	uvarint := func(limit uint64) (int, bool) {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > limit {
			return 0, false
		}
		b = b[n:]
		return int(v), true
	}
	if count > len(b) {
		return nil, errPayload
	}
	out := make([]Trajectory, count)
	lengths := make([]int, count)
	tokens := 0
	for i := range out {
		n, ok := uvarint(uint64(len(b)))
		if !ok || n > len(b) {
			return nil, errPayload
		}
		out[i].Prompt, b = string(b[:n]), b[n:]
		if out[i].Sample, ok = uvarint(math.MaxInt32); !ok || len(b) < 4 {
			return nil, errPayload
		}
		out[i].Reward, b = math.Float32frombits(binary.LittleEndian.Uint32(b)), b[4:]
		if lengths[i], ok = uvarint(uint64(len(b))); !ok {
			return nil, errPayload
		}
		if tokens += lengths[i]; tokens > len(b) {
			return nil, errPayload
		}
	}
	// tokens <= maxPayload, so the products below stay far from overflow.
	scalars, hidden := tokens*len(s.Scalars), tokens*s.Width
	if len(b) != 4*tokens+4*scalars+2*hidden {
		return nil, errPayload
	}
	tok, rest := b[:4*tokens], b[4*tokens:]
	sca, hid := rest[:4*scalars], rest[4*scalars:]
	lo, hi := hid[:hidden], hid[hidden:]
	var it, is, ih int
	for i := range out {
		t := &out[i]
		t.Tokens = make([]int32, lengths[i])
		t.Scalars = make([]float32, lengths[i]*len(s.Scalars))
		t.Hidden = make([]float32, lengths[i]*s.Width)
		for k := range t.Tokens {
			t.Tokens[k] = int32(get32(tok, it, tokens))
			it++
		}
		for k := range t.Scalars {
			t.Scalars[k] = math.Float32frombits(get32(sca, is, scalars))
			is++
		}
		for k := range t.Hidden {
			t.Hidden[k] = fromHalf(uint16(lo[ih]) | uint16(hi[ih])<<8)
			ih++
		}
	}
	return out, nil
}

// put32 and get32 access element i of n in four byte planes.
func put32(planes []byte, i, n int, v uint32) {
	planes[i], planes[n+i], planes[2*n+i], planes[3*n+i] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

func get32(planes []byte, i, n int) uint32 {
	return uint32(planes[i]) | uint32(planes[n+i])<<8 | uint32(planes[2*n+i])<<16 | uint32(planes[3*n+i])<<24
}
