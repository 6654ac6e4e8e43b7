package states

import (
	"errors"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// rowKind is the layout of one row of a page: a token, scalars and hidden floats.
type rowKind struct {
	scalars, width int
	float          Float
}

func trajectoryRows(s Schema) rowKind { return rowKind{len(s.Scalars), s.Width, s.Float} }
func promptRows(s Schema) rowKind     { return rowKind{0, s.PromptWidth(), s.Float} }

// bytes of a row before compression.
func (k rowKind) bytes() int { return 4 + 4*k.scalars + k.float.size()*k.width }

// streams of a page: the byte planes of tokens and scalars in one, then one for each
// byte plane of the hidden states.
func (k rowKind) streams() int {
	if k.width == 0 {
		return 1
	}
	return 1 + k.float.size()
}

// rows are the numbers of consecutive rows.
type rows struct {
	tokens          []int32
	scalars, hidden []float32
}

func makeRows(k rowKind, n int) rows {
	return rows{make([]int32, n), make([]float32, n*k.scalars), make([]float32, n*k.width)}
}

// slice is rows [from, to) of r.
func (r rows) slice(k rowKind, from, to int) rows {
	return rows{
		r.tokens[from:to:to], r.scalars[from*k.scalars : to*k.scalars : to*k.scalars],
		r.hidden[from*k.width : to*k.width : to*k.width],
	}
}

// Entropy coding of the literals is what shrinks the plane of signs and exponents, which
// holds few matches. The next two levels save 1 % and 4 % of half-precision states for
// 1.3 and 2.5 times the CPU time.
var (
	encoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)), zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithAllLitEntropyCompression(true), zstd.WithEncoderCRC(false), zstd.WithSingleSegment(true))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	decoder = sync.OnceValue(func() *zstd.Decoder {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			panic(err)
		}
		return d
	})
)

// encode appends the page that holds r to dst. scratch is memory to use again.
func (k rowKind) encode(dst []byte, r rows, scratch []byte) ([]byte, page, []byte) {
	n := len(r.tokens)
	if need := n * k.bytes(); cap(scratch) < need {
		scratch = make([]byte, need)
	}
	raw := scratch[:n*k.bytes()]
	for i, v := range r.tokens {
		put32(raw, i, n, uint32(v))
	}
	small := 4 * n * (1 + k.scalars)
	F32.split(raw[4*n:small], r.scalars)
	k.float.split(raw[small:], r.hidden)
	p := page{offset: int64(len(dst))}
	for _, stream := range k.cut(raw, n) {
		from := len(dst)
		dst = encoder().EncodeAll(stream, dst)
		if len(dst)-from >= len(stream) { // stored as it is: its length says so
			dst = append(dst[:from], stream...)
		}
		p.streams = append(p.streams, len(dst)-from)
		p.bytes += len(dst) - from
	}
	return dst, p, scratch
}

// cut divides a page of n rows before compression into its streams.
func (k rowKind) cut(raw []byte, n int) [][]byte {
	small := 4 * n * (1 + k.scalars)
	out := [][]byte{raw[:small]}
	for at := small; at < len(raw); at += n * k.width {
		out = append(out, raw[at:at+n*k.width])
	}
	return out
}

var errPage = errors.New("a page does not hold what the directory says")

// decode fills r from a page whose checksum fits. scratch is memory to use again.
func (k rowKind) decode(r rows, p page, data, scratch []byte) ([]byte, error) {
	n := len(r.tokens)
	if need := n * k.bytes(); cap(scratch) < need {
		scratch = make([]byte, need)
	}
	raw := scratch[:n*k.bytes()]
	for i, stream := range k.cut(raw, n) {
		in := data[:p.streams[i]]
		data = data[len(in):]
		if len(in) == len(stream) {
			copy(stream, in)
			continue
		}
		out, err := decoder().DecodeAll(in, stream[:0:len(stream)])
		if err != nil || len(out) != len(stream) {
			return scratch, errPage
		}
	}
	k.join(r, raw)
	return scratch, nil
}

// join fills r from its byte planes.
func (k rowKind) join(r rows, raw []byte) {
	n := len(r.tokens)
	for i := range r.tokens {
		r.tokens[i] = int32(get32(raw, i, n))
	}
	small := 4 * n * (1 + k.scalars)
	F32.join(r.scalars, raw[4*n:small])
	k.float.join(r.hidden, raw[small:])
}
