package eval

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/ivo-decoding/ivo/internal/atomicfile"
)

// WriteAnswers stores answers as JSON lines, whole or not at all.
func WriteAnswers(path string, answers []Answer) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, a := range answers {
			if err := enc.Encode(a); err != nil {
				return err
			}
		}
		return nil
	})
}

// ReadAnswers reads what WriteAnswers wrote.
func ReadAnswers(path string) (out []Answer, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	dec := json.NewDecoder(bufio.NewReader(f))
	for {
		var a Answer
		switch err := dec.Decode(&a); err {
		case nil:
			out = append(out, a)
		case io.EOF:
			return out, nil
		default:
			return nil, fmt.Errorf("%s: damaged: %w (delete the file; the run makes it again)", path, err)
		}
	}
}
