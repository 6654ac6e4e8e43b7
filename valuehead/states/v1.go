package states

import (
	"bytes"
	"encoding/json"
	"math"
)

// Version 1 was written whole, and is read whole: into version 2, in memory.
//
//	"IVOSTATE", u32 1, u32 length of the schema, the schema as JSON, hash
//	blocks: "BLCK", u32 trajectories, u32 payload bytes, u32 compressed bytes, zstd frame, hash
//	"DONE", u32 blocks, u64 trajectories, u64 states, hash
//
// Each hash is xxhash64 of the piece before it, seeded with the hash before that one. A
// payload holds of each trajectory the prompt's id, sample, reward and number of tokens, as
// a directory of version 2 does; then the byte planes of all tokens, scalars and half-precision
// states.

// openV1 reads the shard and gives a reader of its copy in memory.
func openV1(r *Reader, size int64) (*Reader, error) {
	data, err := readAt(r.src, size, 0, size)
	if err != nil {
		return nil, err
	}
	c := chainV1{b: data}
	fail := func(block int) (*Reader, error) {
		return nil, r.fault(block, size-int64(len(c.b)), size, "damaged or cut", "collect this shard anew")
	}
	var s Schema
	header := c.piece(headerFixed, 12)
	if header == nil || json.Unmarshal(header[headerFixed:], &s) != nil || s.Validate() != nil {
		return fail(-1)
	}
	s.Float = F16
	var out bytes.Buffer
	w, err := begin(r.path, &out, s, Options{version: 2})
	if err != nil {
		return nil, err
	}
	n := 0
	for ; bytes.HasPrefix(c.b, []byte(magicBlock)); n++ {
		b := c.piece(16, 12)
		if b == nil || le.Uint32(b[8:]) > 1<<30 {
			return fail(n)
		}
		payload, err := decoder().DecodeAll(b[16:], make([]byte, 0, le.Uint32(b[8:])))
		if err != nil {
			return fail(n)
		}
		block, rewards, ok := parseV1(payload, int(le.Uint32(b[4:])), s)
		if !ok {
			return fail(n)
		}
		for i := range block {
			if err := w.append(&block[i], rewards[i]); err != nil {
				return nil, err
			}
		}
	}
	end := c.piece(24, -1)
	if end == nil || string(end[:4]) != "DONE" || int(le.Uint32(end[4:])) != n || len(c.b) > 0 {
		return fail(-1)
	}
	if err := w.finish(); err != nil {
		return nil, err
	}
	copied, err := newReader(r.path, bytes.NewReader(out.Bytes()), func() (int64, error) { return int64(out.Len()), nil }, r.close)
	if err == nil {
		copied.version = 1
	}
	return copied, err
}

// chainV1 is what is left of a file of version 1.
type chainV1 struct {
	b   []byte
	sum uint64
}

// piece takes the next piece: n bytes, and as many more as the u32 at length says, if it
// is not negative. It returns nil when the piece is not there or not sound.
func (c *chainV1) piece(n, length int) []byte {
	if len(c.b) < n {
		return nil
	}
	size := int64(n)
	if length >= 0 {
		size += int64(le.Uint32(c.b[length:]))
	}
	if size+hashSize > int64(len(c.b)) {
		return nil
	}
	b, rest := c.b[:size], c.b[size:]
	if c.sum = hash(c.sum, b); c.sum != le.Uint64(rest) {
		return nil
	}
	c.b = rest[hashSize:]
	return b
}

func parseV1(payload []byte, count int, s Schema) (out []Trajectory, rewards []float32, ok bool) {
	c := cursor{b: payload}
	if count > len(payload) {
		return nil, nil, false
	}
	metas := make([]Meta, count)
	n := 0
	for i := range metas {
		metas[i].Prompt, metas[i].Sample = c.text(), c.uvarint(math.MaxInt32)
		rewards = append(rewards, c.float())
		metas[i].Tokens = c.uvarint(math.MaxInt32)
		if n += metas[i].Tokens; n > len(payload) {
			return nil, nil, false
		}
	}
	k := trajectoryRows(s)
	if c.bad || len(c.b) != n*k.bytes() {
		return nil, nil, false
	}
	all := makeRows(k, n)
	k.join(all, k.cut(c.b, n))
	out = make([]Trajectory, count)
	at := 0
	for i, m := range metas {
		out[i] = m.with(all.slice(k, at, at+m.Tokens))
		at += m.Tokens
	}
	return out, rewards, true
}
