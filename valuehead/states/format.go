package states

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"github.com/cespare/xxhash/v2"
)

// A shard is, little endian:
//
//	header, twice:
//	    "IVOSTATE", u32 format version, u32 length of the schema, the schema as JSON,
//	    u64 xxhash64 of all that: the shard's key, which seeds all other hashes
//	blocks:
//	    "BLCK", u32 number, u64 trajectories and u64 prompts in the blocks before it,
//	    u32 trajectories, u32 prompts, u32 bytes of the directory, u64 bytes of the pages,
//	    the directory, u64 xxhash64 of all that, the pages
//	index:
//	    "INDX", u32 blocks, u64 trajectories, u64 prompts, u64 states,
//	    of each block: u64 offset, u64 bytes, u32 trajectories, u32 prompts, u64 states,
//	        u64 its hash
//	    u64 offset of the index, u64 xxhash64 of all that, "IVODONE\n"
//
// A directory names what its block holds, and where the pages are:
//
//	uvarint rows of a page of prompts, uvarint rows of a page of trajectories
//	of each prompt: uvarint length of the id, the id, uvarint tokens
//	of each trajectory: uvarint length of the prompt's id, the id, uvarint sample,
//	    uvarint tokens
//	of each page, those of prompts first: uvarint bytes of each of its streams,
//	    u64 xxhash64 of the page
//
// The header stands twice so that no single fault costs the whole shard. Blocks are
// found by the index or, without it, one after the other.
//
// Version 3 has no planes that are packed, see packed.go. Version 2 has no candidates either, and an f32 reward between the sample and the tokens of each
// trajectory of a directory.
const (
	magicFile  = "IVOSTATE"
	magicBlock = "BLCK"
	magicIndex = "INDX"
	magicEnd   = "IVODONE\n"

	headerFixed = len(magicFile) + 8
	blockFixed  = len(magicBlock) + 40
	indexFixed  = len(magicIndex) + 28
	indexEntry  = 40
	trailer     = 16 + len(magicEnd)
	hashSize    = 8

	maxSchema    = 1 << 20
	maxDirectory = 1 << 28
	maxPage      = 1 << 24 // bytes before compression, of a page of several rows
	maxRaw       = 1 << 32 // of a block's pages
)

// hash is xxhash64, seeded with the shard's key.
func hash(key uint64, b []byte) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(key)
	d.Write(b) // never fails
	return d.Sum64()
}

var le = binary.LittleEndian

// appendHeader writes one copy of the header, and returns the key of the shard.
func appendHeader(dst []byte, s Schema, version int) ([]byte, uint64, error) {
	js, err := json.Marshal(s)
	if err != nil {
		return nil, 0, err
	}
	if len(js) > maxSchema {
		return nil, 0, fmt.Errorf("a schema of %d bytes (shorten the names of its features)", len(js))
	}
	from := len(dst)
	dst = append(dst, magicFile...)
	dst = le.AppendUint32(dst, uint32(version))
	dst = le.AppendUint32(dst, uint32(len(js)))
	dst = append(dst, js...)
	key := hash(0, dst[from:])
	return le.AppendUint64(dst, key), key, nil
}

// blockHead is the header of a block with its directory.
type blockHead struct {
	number, firstTrajectory, firstPrompt int
	trajectories, prompts                int
	pageBytes                            int64
	directory                            []byte
	sum                                  uint64
}

// size is the bytes of the block without its pages.
func (h *blockHead) size() int64 { return int64(blockFixed + len(h.directory) + hashSize) }

func appendBlockHead(dst []byte, key uint64, h *blockHead) []byte {
	from := len(dst)
	dst = append(dst, magicBlock...)
	dst = le.AppendUint32(dst, uint32(h.number))
	dst = le.AppendUint64(dst, uint64(h.firstTrajectory))
	dst = le.AppendUint64(dst, uint64(h.firstPrompt))
	dst = le.AppendUint32(dst, uint32(h.trajectories))
	dst = le.AppendUint32(dst, uint32(h.prompts))
	dst = le.AppendUint32(dst, uint32(len(h.directory)))
	dst = le.AppendUint64(dst, uint64(h.pageBytes))
	dst = append(dst, h.directory...)
	h.sum = hash(key, dst[from:])
	return le.AppendUint64(dst, h.sum)
}

// parseFixed reads the fixed part of a block's header, which no checksum has vouched for.
func parseFixed(b []byte) (h blockHead, directory int64, ok bool) {
	if string(b[:4]) != magicBlock {
		return h, 0, false
	}
	first, prompt, pages := le.Uint64(b[8:]), le.Uint64(b[16:]), le.Uint64(b[36:])
	directory = int64(le.Uint32(b[32:]))
	if max(first, prompt, pages) > math.MaxInt64/2 || directory > maxDirectory {
		return h, 0, false
	}
	return blockHead{
		number: int(le.Uint32(b[4:])), firstTrajectory: int(first), firstPrompt: int(prompt),
		trajectories: int(le.Uint32(b[24:])), prompts: int(le.Uint32(b[28:])), pageBytes: int64(pages),
	}, directory, true
}

// directory says what a block holds.
type directory struct {
	promptPage, page int    // rows of a page of prompts, of trajectories
	prompts          []Meta // ID and length
	trajectories     []Meta
	rewards          []float32 // of the trajectories, in version 2
	promptRows, rows []int     // the row at which each begins, and the number of all rows
	pages            []page
}

// page is some rows of a block: compressed streams one after the other.
type page struct {
	offset  int64 // from the block's first page
	streams []int // bytes of each
	bytes   int
	sum     uint64
}

func appendDirectory(dst []byte, d *directory) []byte {
	dst = binary.AppendUvarint(dst, uint64(d.promptPage))
	dst = binary.AppendUvarint(dst, uint64(d.page))
	for _, p := range d.prompts {
		dst = binary.AppendUvarint(dst, uint64(len(p.Prompt)))
		dst = append(dst, p.Prompt...)
		dst = binary.AppendUvarint(dst, uint64(p.Tokens))
	}
	for i, t := range d.trajectories {
		dst = binary.AppendUvarint(dst, uint64(len(t.Prompt)))
		dst = append(dst, t.Prompt...)
		dst = binary.AppendUvarint(dst, uint64(t.Sample))
		if d.rewards != nil {
			dst = le.AppendUint32(dst, math.Float32bits(d.rewards[i]))
		}
		dst = binary.AppendUvarint(dst, uint64(t.Tokens))
	}
	for _, p := range d.pages {
		for _, n := range p.streams {
			dst = binary.AppendUvarint(dst, uint64(n))
		}
		dst = le.AppendUint64(dst, p.sum)
	}
	return dst
}

var errDirectory = errors.New("its directory does not hold what its header says")

// parseDirectory reads what appendDirectory wrote. No content makes it allocate much
// more than the length of the directory.
func parseDirectory(h *blockHead, s Schema, version int) (*directory, error) {
	c := cursor{b: h.directory}
	d := &directory{promptPage: c.uvarint(maxPage), page: c.uvarint(maxPage)}
	prompts, trajectories := promptRows(s), trajectoryRows(s)
	if c.bad || 2*h.prompts > len(c.b) || 3*h.trajectories > len(c.b) || d.promptPage < 1 || d.page < 1 ||
		d.promptPage > 1 && d.promptPage*prompts.bytes() > maxPage || d.page > 1 && d.page*trajectories.bytes() > maxPage {
		return nil, errDirectory
	}
	d.prompts = make([]Meta, h.prompts)
	d.promptRows = make([]int, 1, h.prompts+1)
	for i := range d.prompts {
		d.prompts[i] = Meta{Prompt: c.text(), Tokens: c.uvarint(math.MaxInt32)}
		d.promptRows = append(d.promptRows, d.promptRows[i]+d.prompts[i].Tokens)
	}
	d.trajectories = make([]Meta, h.trajectories)
	if version < 3 {
		d.rewards = make([]float32, h.trajectories)
	}
	d.rows = make([]int, 1, h.trajectories+1)
	for i := range d.trajectories {
		m := &d.trajectories[i]
		m.Prompt, m.Sample = c.text(), c.uvarint(math.MaxInt32)
		if version < 3 {
			d.rewards[i] = c.float()
		}
		m.Tokens = c.uvarint(math.MaxInt32)
		d.rows = append(d.rows, d.rows[i]+d.trajectories[i].Tokens)
	}
	np, nt := d.promptRows[h.prompts], d.rows[h.trajectories]
	if c.bad || int64(np) > maxRaw/int64(prompts.bytes()) || int64(nt) > maxRaw/int64(trajectories.bytes()) {
		return nil, errDirectory
	}
	promptPages := pagesOf(np, d.promptPage)
	n := promptPages + pagesOf(nt, d.page)
	if n*(hashSize+1) > len(c.b) {
		return nil, errDirectory
	}
	d.pages = make([]page, n)
	var at int64
	for i := range d.pages {
		p := &d.pages[i]
		kind := trajectories
		if i < promptPages {
			kind = prompts
		}
		p.offset, p.streams = at, make([]int, len(kind.streams(0)))
		for k := range p.streams {
			p.streams[k] = c.uvarint(maxPage)
			p.bytes += p.streams[k]
		}
		p.sum = c.uint64()
		at += int64(p.bytes)
	}
	if c.bad || len(c.b) > 0 || at != h.pageBytes {
		return nil, errDirectory
	}
	return d, nil
}

func pagesOf(rows, page int) int { return (rows + page - 1) / page }

// cursor reads fields from the front of b; bad says that one was not there.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.bad, n = true, 0
	}
	out := c.b[:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) uvarint(limit uint64) int {
	v, n := binary.Uvarint(c.b)
	if n <= 0 || v > limit {
		c.bad = true
		return 0
	}
	c.b = c.b[n:]
	return int(v)
}

func (c *cursor) text() string { return string(c.take(c.uvarint(maxDirectory))) }

func (c *cursor) float() float32 {
	if b := c.take(4); len(b) == 4 {
		return math.Float32frombits(le.Uint32(b))
	}
	return 0
}

func (c *cursor) uint64() uint64 {
	if b := c.take(8); len(b) == 8 {
		return le.Uint64(b)
	}
	return 0
}
