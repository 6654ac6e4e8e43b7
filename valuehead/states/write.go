package states

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// A shard is, little endian:
//
//	"IVOSTATE", u32 format version, u32 length of the schema, the schema as JSON,
//	    u64 xxhash64 of all that
//	blocks: "BLCK", u32 trajectories, u32 payload bytes, u32 compressed bytes,
//	    zstd frame, u64 xxhash64 of all that
//	"DONE", u32 blocks, u64 trajectories, u64 states, u64 xxhash64 of all that
//
// Each checksum also covers the one before it, so that blocks cannot change places.
const (
	magicFile  = "IVOSTATE"
	magicBlock = "BLCK"
	magicEnd   = "DONE"

	fileHeader  = len(magicFile) + 8
	blockHeader = len(magicBlock) + 12
	endMarker   = len(magicEnd) + 20
	checksum    = 8

	blockTarget = 4 << 20 // payload bytes at which Write closes a block
	maxPayload  = 1 << 30
)

// Write stores trajectories as one shard at path, whole or not at all. The same
// content gives the same bytes. Hidden states are rounded to half precision and clamped
// to its range, +-65504; scalars and rewards are kept exactly.
func Write(path string, schema Schema, trajectories []Trajectory) error {
	return write(path, schema, trajectories, blockTarget)
}

// write closes a block as soon as its payload reaches target bytes.
func write(path string, schema Schema, trajectories []Trajectory, target int) error {
	if err := schema.Validate(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	for i := range trajectories {
		t := &trajectories[i]
		if err := t.check(schema); err != nil {
			return fmt.Errorf("write %s: prompt %q, sample %d: %w", path, t.Prompt, t.Sample, err)
		}
		if size := schema.payload(t); size > maxPayload {
			return fmt.Errorf("write %s: prompt %q, sample %d: %d bytes of states, at most %d fit (tap fewer layers or sample shorter responses)", path, t.Prompt, t.Sample, size, maxPayload)
		}
	}
	// One goroutine, so that the frames do not depend on the machine. Entropy coding without
	// matches is what shrinks the plane of signs and exponents.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithAllLitEntropyCompression(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer enc.Close()
	return atomicfile.Write(path, func(out io.Writer) error {
		w := &writer{out: out}
		js, err := json.Marshal(schema)
		if err != nil {
			return err
		}
		b := append([]byte(nil), magicFile...)
		b = binary.LittleEndian.AppendUint32(b, FormatVersion)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(js)))
		if err := w.put(append(b, js...)); err != nil {
			return err
		}

		blocks, states := 0, 0
		var payload []byte
		for rest := trajectories; len(rest) > 0; blocks++ {
			n, size := 0, 0
			for n < len(rest) && size < target {
				size += schema.payload(&rest[n])
				if n > 0 && size > maxPayload {
					break
				}
				states += len(rest[n].Tokens)
				n++
			}
			payload = appendBlock(payload[:0], rest[:n])
			rest = rest[n:]
			frame := enc.EncodeAll(payload, make([]byte, blockHeader, blockHeader+len(payload)/2))
			copy(frame, magicBlock)
			binary.LittleEndian.PutUint32(frame[4:], uint32(n))
			binary.LittleEndian.PutUint32(frame[8:], uint32(len(payload)))
			binary.LittleEndian.PutUint32(frame[12:], uint32(len(frame)-blockHeader))
			if err := w.put(frame); err != nil {
				return err
			}
		}

		b = append(b[:0], magicEnd...)
		b = binary.LittleEndian.AppendUint32(b, uint32(blocks))
		b = binary.LittleEndian.AppendUint64(b, uint64(len(trajectories)))
		b = binary.LittleEndian.AppendUint64(b, uint64(states))
		return w.put(b)
	})
}

// payload bounds the bytes that t takes in a block before compression.
func (s Schema) payload(t *Trajectory) int {
	return len(t.Prompt) + 3*binary.MaxVarintLen64 + 4 + 4*len(t.Tokens) + 4*len(t.Scalars) + 2*len(t.Hidden)
}

// writer appends the chained checksum to each piece.
type writer struct {
	out io.Writer
	sum uint64
}

func (w *writer) put(piece []byte) error {
	w.sum = chain(w.sum, piece)
	_, err := w.out.Write(binary.LittleEndian.AppendUint64(piece, w.sum))
	return err
}

// chain hashes a piece of the file together with the checksum of the one before it.
func chain(before uint64, piece []byte) uint64 {
	var d xxhash.Digest
	d.ResetWithSeed(before)
	d.Write(piece) // never fails
	return d.Sum64()
}
