package states

import (
	"io"
	"math"
	"sync/atomic"
)

// entry is what the index says of a block.
type entry struct {
	offset, length int64
	trajectories   int
	prompts        int
	states         int
	sum            uint64 // of its header and directory
}

// block is one block of the table of blocks.
type block struct {
	number, first, firstPrompt int // in the shard; of its first trajectory and prompt
	entry
	fault     *Error // of a block that is known to be unreadable
	directory atomic.Pointer[directory]
}

func (b *block) end() int       { return b.first + b.trajectories }
func (b *block) endPrompt() int { return b.firstPrompt + b.prompts }

// appendIndex writes the index of a shard that begins at offset.
func appendIndex(dst []byte, key uint64, offset int64, blocks []*block) []byte {
	from := len(dst)
	var states, trajectories, prompts int
	if n := len(blocks); n > 0 {
		trajectories, prompts = blocks[n-1].end(), blocks[n-1].endPrompt()
	}
	for _, b := range blocks {
		states += b.states
	}
	dst = append(dst, magicIndex...)
	dst = le.AppendUint32(dst, uint32(len(blocks)))
	dst = le.AppendUint64(dst, uint64(trajectories))
	dst = le.AppendUint64(dst, uint64(prompts))
	dst = le.AppendUint64(dst, uint64(states))
	for _, b := range blocks {
		dst = le.AppendUint64(dst, uint64(b.offset))
		dst = le.AppendUint64(dst, uint64(b.length))
		dst = le.AppendUint32(dst, uint32(b.trajectories))
		dst = le.AppendUint32(dst, uint32(b.prompts))
		dst = le.AppendUint64(dst, uint64(b.states))
		dst = le.AppendUint64(dst, b.sum)
	}
	dst = le.AppendUint64(dst, uint64(offset))
	dst = le.AppendUint64(dst, hash(key, dst[from:]))
	return append(dst, magicEnd...)
}

// indexSize is the bytes of the index of n blocks.
func indexSize(n int) int64 { return int64(indexFixed + n*indexEntry + trailer) }

// readIndex reads the index that begins at offset. It returns nil unless a whole and
// sound index stands there, and its end.
func readIndex(src io.ReaderAt, size int64, key uint64, offset int64) (blocks []*block, end int64) {
	fixed, err := readAt(src, size, offset, int64(indexFixed))
	if err != nil || string(fixed[:4]) != magicIndex {
		return nil, 0
	}
	n := int(le.Uint32(fixed[4:]))
	b, err := readAt(src, size, offset, indexSize(n))
	if err != nil {
		return nil, 0
	}
	tail := len(b) - trailer
	if string(b[len(b)-len(magicEnd):]) != magicEnd || le.Uint64(b[tail:]) != uint64(offset) || le.Uint64(b[tail+8:]) != hash(key, b[:tail+8]) {
		return nil, 0
	}
	blocks = make([]*block, n)
	first, firstPrompt := 0, 0
	for i := range blocks {
		e := b[indexFixed+i*indexEntry:]
		if max(le.Uint64(e), le.Uint64(e[8:]), le.Uint64(e[24:])) > math.MaxInt64/2 {
			return nil, 0
		}
		blocks[i] = &block{number: i, first: first, firstPrompt: firstPrompt, entry: entry{
			int64(le.Uint64(e)), int64(le.Uint64(e[8:])), int(le.Uint32(e[16:])), int(le.Uint32(e[20:])),
			int(le.Uint64(e[24:])), le.Uint64(e[32:]),
		}}
		first, firstPrompt = blocks[i].end(), blocks[i].endPrompt()
	}
	return blocks, offset + int64(len(b))
}

// readAt returns n bytes of a file of size bytes, or io.ErrUnexpectedEOF. The size
// bounds n before anything is allocated.
func readAt(src io.ReaderAt, size, offset, n int64) ([]byte, error) {
	if offset < 0 || n < 0 || offset > size || n > size-offset {
		return nil, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	if k, err := src.ReadAt(b, offset); k < len(b) {
		if err == io.EOF { // the file was cut meanwhile
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}
