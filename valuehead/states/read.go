package states

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/klauspost/compress/zstd"
)

const hintDamaged = "the file is damaged: delete it and run the same command again, which collects this shard anew"

// Reader reads the trajectories of one shard in order.
type Reader struct {
	path   string
	schema Schema
	file   *os.File
	in     *bufio.Reader
	left   int64 // bytes of the file not read yet
	sum    uint64
	block  int
}

// Open reads the header of the shard at path. Close the reader after use.
func Open(path string) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	r := &Reader{path: path, file: f, in: bufio.NewReaderSize(f, 1<<18), left: st.Size(), block: -1}
	if err := r.header(); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// Read returns all trajectories of the shard at path, whose schema must match want.
func Read(path string, want Schema) ([]Trajectory, error) {
	r, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Expect(want); err != nil {
		return nil, err
	}
	var out []Trajectory
	for t, err := range r.All() {
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// Schema is what the shard's rows mean.
func (r *Reader) Schema() Schema { return r.schema }

// Expect returns an error that names the difference when the shard's schema is not want.
func (r *Reader) Expect(want Schema) error {
	if err := r.schema.Match(want); err != nil {
		return fmt.Errorf("%s: %w", r.path, err)
	}
	return nil
}

// Close closes the file.
func (r *Reader) Close() error { return r.file.Close() }

// All yields the trajectories once, block by block. A fault of the file is yielded as
// an *Error and ends the sequence; what was yielded before it is sound, but the shard is
// known to be whole only when the sequence ends without one.
func (r *Reader) All() iter.Seq2[Trajectory, error] {
	return func(yield func(Trajectory, error) bool) {
		dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			yield(Trajectory{}, err)
			return
		}
		defer dec.Close()
		trajectories, states := 0, 0
		for r.block = 0; ; r.block++ {
			block, last, err := r.next(dec, trajectories, states)
			if err != nil {
				yield(Trajectory{}, err)
				return
			}
			if last {
				return
			}
			for _, t := range block {
				trajectories++
				states += len(t.Tokens)
				if !yield(t, nil) {
					return
				}
			}
		}
	}
}

// header reads and checks everything before the first block.
func (r *Reader) header() error {
	b, err := r.take(nil, int64(fileHeader))
	if err != nil || string(b[:len(magicFile)]) != magicFile {
		return &Error{r.path, -1, "not a shard of cached states", "check the path: shards lie in the states folder of a run"}
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != FormatVersion {
		return &Error{r.path, -1, fmt.Sprintf("format version %d, this ivo reads %d", v, FormatVersion), "collect the states again, or use the ivo that wrote them"}
	}
	b, err = r.piece(b, int64(binary.LittleEndian.Uint32(b[12:])))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b[fileHeader:], &r.schema); err != nil {
		return r.fail("the schema cannot be read: %v", err)
	}
	if err := r.schema.Validate(); err != nil {
		return r.fail("the schema makes no sense: %v", err)
	}
	return nil
}

// next reads one block, or the end marker: then last is true.
func (r *Reader) next(dec *zstd.Decoder, trajectories, states int) (block []Trajectory, last bool, err error) {
	b, err := r.take(nil, 4)
	if err != nil {
		return nil, false, err
	}
	switch string(b) {
	case magicEnd:
		b, err := r.piece(b, int64(endMarker-4))
		if err != nil {
			return nil, false, err
		}
		blocks := int(binary.LittleEndian.Uint32(b[4:]))
		t, s := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
		if blocks != r.block || t != uint64(trajectories) || s != uint64(states) {
			return nil, false, r.fail("%d blocks, %d trajectories and %d states were read, but %d, %d and %d were written", r.block, trajectories, states, blocks, t, s)
		}
		if r.left != 0 {
			return nil, false, r.fail("%d bytes follow the end", r.left)
		}
		return nil, true, nil
	case magicBlock:
	default:
		return nil, false, r.fail("its start is damaged")
	}
	if b, err = r.take(b, int64(blockHeader-4)); err != nil {
		return nil, false, err
	}
	if b, err = r.piece(b, int64(binary.LittleEndian.Uint32(b[12:]))); err != nil {
		return nil, false, err
	}
	// The checksum has vouched for the header, so its counts may be trusted from here.
	size := binary.LittleEndian.Uint32(b[8:])
	if size > maxPayload {
		return nil, false, r.fail("a payload of %d bytes", size)
	}
	payload, err := dec.DecodeAll(b[blockHeader:], make([]byte, 0, size))
	if err != nil {
		return nil, false, r.fail("cannot be decompressed: %v", err)
	}
	block, err = parseBlock(payload, int(binary.LittleEndian.Uint32(b[4:])), r.schema)
	if err != nil {
		return nil, false, r.fail("%v", err)
	}
	return block, false, nil
}

// piece appends n bytes to what has been read of a piece and checks the checksum that
// follows.
func (r *Reader) piece(begun []byte, n int64) ([]byte, error) {
	b, err := r.take(begun, n)
	if err != nil {
		return nil, err
	}
	sum, err := r.take(nil, checksum)
	if err != nil {
		return nil, err
	}
	r.sum = chain(r.sum, b)
	if r.sum != binary.LittleEndian.Uint64(sum) {
		return nil, r.fail("its checksum does not fit")
	}
	return b, nil
}

// take appends n bytes to b. The file's size bounds n before anything is allocated.
func (r *Reader) take(b []byte, n int64) ([]byte, error) {
	if n > r.left {
		return nil, r.fail("truncated: %d bytes wanted, %d left", n, r.left)
	}
	at := len(b)
	b = append(b, make([]byte, n)...)
	if _, err := io.ReadFull(r.in, b[at:]); err != nil {
		return nil, r.fail("%v", err)
	}
	r.left -= n
	return b, nil
}

func (r *Reader) fail(format string, args ...any) error {
	return &Error{r.path, r.block, fmt.Sprintf(format, args...), hintDamaged}
}
