package fleet

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"

	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/rollout"
	"github.com/ivo-decoding/ivo/valuehead/states"
)

// A parcel is a shard's result on its way: a line that says what follows, the answers as compressed lines,
// and the file of states.
type parcel struct {
	Protocol int    `json:"protocol"`
	Key      string `json:"key"`
	Answers  int64  `json:"answers"` // bytes
	States   int64  `json:"states"`  // 0 for none
}

// damage is what is wrong with a result.
type damage struct{ error }

func damaged(format string, args ...any) error { return damage{fmt.Errorf(format, args...)} }

// pack gives the result of an order in two parts, if it has so many bytes at most. states is the file of its states, nil without any.
func pack(key string, s *rollout.Shard, states *os.File, most int64) (begin []byte, rest *io.SectionReader, err error) {
	var lines bytes.Buffer
	z, err := zstd.NewWriter(&lines, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
	if err != nil {
		return nil, nil, err
	}
	enc := json.NewEncoder(z)
	for _, a := range s.Answers {
		err = errors.Join(err, enc.Encode(a))
	}
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, nil, err
	}
	head := parcel{Protocol: protocol, Key: key, Answers: int64(lines.Len())}
	if states != nil && err == nil {
		var info os.FileInfo
		if info, err = states.Stat(); err == nil {
			head.States = info.Size()
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if all := head.Answers + head.States; all > most {
		return nil, nil, tooLarge(all, most)
	}
	return slices.Concat(encode(head), []byte{'\n'}, lines.Bytes()), io.NewSectionReader(states, 0, head.States), nil
}

// unpack reads and checks the result of an order, and puts its states into a file.
func unpack(r io.Reader, d *rollout.Drawing, file string) (*rollout.Shard, error) {
	in := bufio.NewReaderSize(r, mostLine)
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, transport(err, "it does not say what it holds")
	}
	var head parcel
	if err := json.Unmarshal(line, &head); err != nil {
		return nil, damaged("it does not say what it holds: %w", err)
	}
	switch {
	case head.Protocol != protocol:
		return nil, damaged("it is of version %d of the protocol, and not of %d", head.Protocol, protocol)
	case head.Key != d.Key:
		return nil, damaged("it is the result of another shard")
	case head.Answers < 0 || head.States < 0 || head.Answers > mostAnswers || head.States > mostShard || (head.States > 0) != (d.Schema != nil):
		return nil, damaged("it holds %d bytes of answers and %d of states", head.Answers, head.States)
	}
	s := &rollout.Shard{}
	answers := io.LimitReader(in, head.Answers)
	z, err := zstd.NewReader(answers, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(mostAnswers))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	for dec := json.NewDecoder(io.LimitReader(z, mostAnswers)); ; {
		var a rollout.Answer
		err := dec.Decode(&a)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, transport(err, "its answers cannot be read")
		}
		if s.Answers = append(s.Answers, a); len(s.Answers) > d.Count() {
			break
		}
	}
	if err := checkAnswers(d, s.Answers); err != nil {
		return nil, err
	}
	if _, err := io.Copy(io.Discard, answers); err != nil {
		return nil, err
	}
	if d.Schema == nil {
		return s, nil
	}
	s.File = file
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(f, io.LimitReader(in, head.States))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if n < head.States {
		return nil, damaged("its states end after %d of %d bytes", n, head.States)
	}
	return s, checkStates(d, s)
}

// transport tells what went wrong on the way from what was wrong before.
func transport(err error, what string) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.As(err, &syntax) || errors.As(err, &kind) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, bufio.ErrBufferFull) ||
		errors.Is(err, zstd.ErrMagicMismatch) || errors.Is(err, zstd.ErrCRCMismatch) || errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return damaged("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// checkAnswers finds answers that are not those of the order.
func checkAnswers(d *rollout.Drawing, answers []rollout.Answer) error {
	if len(answers) != d.Count() {
		return damaged("it has %d answers where %d were asked for", len(answers), d.Count())
	}
	i := 0
	for _, t := range d.Tasks {
		for k := range max(1, t.Samples) {
			a := answers[i]
			switch {
			case a.Prompt != t.ID || a.Sample != t.First+k:
				return damaged("answer %d is sample %d of prompt %s where %d of %s was asked for", i+1, a.Sample, a.Prompt, t.First+k, t.ID)
			case a.Finish != decode.FinishEOG && a.Finish != decode.FinishLength || a.Emitted < 0 || a.Decoded < 0:
				return damaged("answer %d ended by %q after %d tokens", i+1, a.Finish, a.Emitted)
			case d.Schema != nil && (len(a.Tokens) != a.Emitted || len(a.LogProbs) != a.Emitted):
				return damaged("answer %d of %d tokens has %d, with %d log-probabilities", i+1, a.Emitted, len(a.Tokens), len(a.LogProbs))
			}
			i++
		}
	}
	return nil
}

// checkStates reads the file of a result's states, and finds those that are not its answers'.
func checkStates(d *rollout.Drawing, s *rollout.Shard) error {
	r, err := states.Open(s.File)
	if err != nil {
		return damaged("its states: %w", err)
	}
	defer r.Close()
	if err := r.Expect(*d.Schema); err != nil {
		return damaged("its states: %w", err)
	}
	if !r.Finished() || len(r.Faults()) > 0 || r.Len() != len(s.Answers) || r.Prompts() != len(d.Tasks) {
		return damaged("its states are of %d answers to %d prompts, and have %d faults", r.Len(), r.Prompts(), len(r.Faults()))
	}
	i := 0
	for t, err := range r.All() {
		if err != nil {
			return damaged("its states: %w", err)
		}
		if a := s.Answers[i]; t.Prompt != a.Prompt || t.Sample != a.Sample || !slices.Equal(t.Tokens, a.Tokens) {
			return damaged("the states of answer %d are those of another", i+1)
		}
		i++
	}
	for _, t := range d.Tasks {
		if p, err := r.Prompt(t.ID); err != nil || !slices.Equal(p.Tokens, t.Tokens) {
			return damaged("the states of prompt %s are those of another (%v)", t.ID, err)
		}
	}
	return nil
}
