package prompt

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// ReadOptions say how files of prompts are read.
type ReadOptions struct {
	Stdin io.Reader // what the path - stands for
	// Field is the setting that names the file, for errors; "" for the prompts.
	Field fault.Field
}

// maxFile bounds a file of prompts, unpacked, in bytes.
const maxFile = 1 << 30

// source is a file that prompts are read from, in UTF-8 without a byte order mark.
type source struct {
	op, name string
	field    fault.Field
	text     []byte
}

// fail is an error about a line of the file; 0 for all of it.
func (s *source) fail(line int, hint, format string, args ...any) error {
	at := s.name
	if line > 0 {
		at = fmt.Sprintf("%s:%d", s.name, line)
	}
	return fault.New(s.op, s.field, nil, hint, at+": "+format, args...)
}

// open reads a file, or standard input, unpacks it, and sees to it that it is text.
func open(op string, field fault.Field, path string, o ReadOptions) (*source, error) {
	s := &source{op: op, name: path, field: field}
	var in io.Reader
	if path == "-" {
		s.name = "standard input"
		if in = o.Stdin; in == nil {
			return nil, s.fail(0, "name a file as {"+string(field)+"}", "there is none")
		}
	} else {
		f, err := os.Open(path)
		if err != nil {
			return nil, &fault.Error{Op: op, Field: field, Err: err, Hint: "check the path given with {" + string(field) + "}"}
		}
		defer f.Close()
		in = f
	}
	buffered := bufio.NewReader(in)
	in = buffered
	if magic, _ := buffered.Peek(2); string(magic) == "\x1f\x8b" {
		unpacked, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, s.fail(0, "pack it anew with gzip", "no gzip after all: %w", err)
		}
		buffered = bufio.NewReader(unpacked)
		in = buffered
	}
	head, _ := buffered.Peek(512)
	for _, other := range []struct{ magic, what, hint string }{
		{"GGUF", "a model", "give a file of prompts"},
		{"PAR1", "a Parquet file", `write it as JSON lines; in Python pandas.read_parquet("in.parquet").to_json("out.jsonl", orient="records", lines=True)`},
		{"PK\x03\x04", "a zip archive or a spreadsheet", "unpack it, or save it as CSV in UTF-8"},
		{"\x28\xb5\x2f\xfd", "packed with zstd", "unpack it, or pack it with gzip"},
		{"BZh", "packed with bzip2", "unpack it, or pack it with gzip"},
		{"\xfd7zXZ", "packed with xz", "unpack it, or pack it with gzip"},
		{"\x1f\x8b", "packed with gzip twice", "unpack it once"},
		{"\xff\xfe", "text in UTF-16, by its byte order mark", "save it as UTF-8, in an editor or with iconv"},
		{"\xfe\xff", "text in UTF-16, by its byte order mark", "save it as UTF-8, in an editor or with iconv"},
	} {
		if bytes.HasPrefix(head, []byte(other.magic)) {
			return nil, s.fail(1, other.hint, "%s", other.what)
		}
	}
	var err error
	if s.text, err = io.ReadAll(io.LimitReader(in, maxFile+1)); err != nil {
		hint := "check that the path is a file that can be read"
		if errors.Is(err, gzip.ErrChecksum) || errors.Is(err, io.ErrUnexpectedEOF) {
			hint = "the file is damaged or cut short: fetch or pack it anew"
		}
		return nil, &fault.Error{Op: op, Field: field, Err: fmt.Errorf("%s: %w", s.name, err), Hint: hint}
	}
	if len(s.text) > maxFile {
		return nil, s.fail(0, "split the file", "more than %d MiB of prompts", maxFile>>20)
	}
	s.text = bytes.TrimPrefix(s.text, []byte("\ufeff"))
	return s, s.check()
}

// check refuses what is no text in UTF-8.
func (s *source) check() error {
	if i := bytes.IndexByte(s.text, 0); i >= 0 {
		if i < 2 {
			return s.fail(1, "save it as UTF-8, in an editor or with iconv", "text in UTF-16: every second byte is zero")
		}
		return s.fail(s.line(i), "give a text file in UTF-8", "a zero byte: this is no text")
	}
	if utf8.Valid(s.text) {
		return nil
	}
	i := 0
	for {
		r, n := utf8.DecodeRune(s.text[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	column := i - bytes.LastIndexByte(s.text[:i], '\n')
	return s.fail(s.line(i), "save the file as UTF-8, in an editor or with iconv", "byte %#02x in column %d is no UTF-8", s.text[i], column)
}

// line is the number of the line that byte i is on.
func (s *source) line(i int) int { return 1 + bytes.Count(s.text[:i], []byte{'\n'}) }

// ReadText reads a single prompt from a text file: all of it but for a last line break. Line
// breaks of Windows are read as others are.
func ReadText(path string, o ReadOptions) (string, error) {
	return readText("read the prompt", "file", path, o)
}

// ReadResponse reads a response as ReadText reads a prompt.
func ReadResponse(path string, o ReadOptions) (string, error) {
	return readText("read the response", "response_file", path, o)
}

func readText(op string, field fault.Field, path string, o ReadOptions) (string, error) {
	s, err := open(op, field, path, o)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(strings.ReplaceAll(string(s.text), "\r\n", "\n"), "\n")
	if text == "" {
		return "", s.fail(0, "write the text into it", "it is empty")
	}
	return text, nil
}
