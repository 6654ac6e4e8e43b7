package prompt

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/ivo-decoding/ivo/internal/jsonkind"
)

// row is what a file says of one prompt.
type row struct {
	line, number int // the line that it begins on; what it is called without an id
	fields       map[string]json.RawMessage
}

const (
	lineHint = `write one JSON object a line, such as {"id": "1", "prompt": "..."}`
	textHint = `put the text in the field "prompt", or a conversation in "messages"`
)

// Read reads a file of prompts: JSON lines, a JSON array, or CSV with a head line, each also
// packed with gzip; - is standard input. A record's prompt is found by the names that the
// fields of people's files have, see columns.go; its other fields are kept. A record without
// an id is called by the number of its line, element or row.
func Read(path string, o ReadOptions) ([]Record, error) {
	records, _, err := ReadLines(path, o)
	return records, err
}

// ReadLines is Read, and says on which line each record begins.
func ReadLines(path string, o ReadOptions) (records []Record, lines []int, err error) {
	s, err := open("read prompts", cmp.Or(o.Field, "prompts"), path, o)
	if err != nil {
		return nil, nil, err
	}
	var rows []row
	switch text := bytes.TrimLeft(s.text, " \t\r\n"); {
	case len(text) == 0:
	case text[0] == '[':
		rows, err = s.array()
	case text[0] == '{':
		rows, err = s.lines()
	default:
		rows, err = s.table()
	}
	if err != nil {
		return nil, nil, err
	}
	if len(rows) == 0 {
		return nil, nil, s.fail(0, lineHint, "it holds no prompts")
	}
	for _, row := range rows {
		lines = append(lines, row.line)
	}
	records, err = s.records(rows)
	return records, lines, err
}

// lines are JSON objects, one a line.
func (s *source) lines() ([]row, error) {
	var rows []row
	line := 0
	for text := range bytes.Lines(s.text) {
		line++
		if text = bytes.TrimSpace(text); len(text) == 0 {
			continue
		}
		fields, err := s.object(line, text)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{line, line, fields})
	}
	return rows, nil
}

// array is a JSON array of objects.
func (s *source) array() ([]row, error) {
	var rows []row
	dec := json.NewDecoder(bytes.NewReader(s.text))
	fail := func(err error) error {
		at := int(dec.InputOffset())
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			at = int(syntax.Offset)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			at, err = len(s.text), errors.New("it ends before the array does")
		}
		return s.fail(s.line(min(at, len(s.text))), `write an array of objects such as {"id": "1", "prompt": "..."}`, "not JSON: %w", err)
	}
	if _, err := dec.Token(); err != nil {
		return nil, fail(err)
	}
	line, counted := 1, 0 // bytes
	for dec.More() {
		at := int(dec.InputOffset())
		at += len(s.text[at:]) - len(bytes.TrimLeft(s.text[at:], ", \t\r\n"))
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fail(err)
		}
		line += bytes.Count(s.text[counted:at], []byte{'\n'})
		counted = at
		fields, err := s.object(line, raw)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{line, len(rows) + 1, fields})
	}
	if _, err := dec.Token(); err != nil {
		return nil, fail(err)
	}
	if rest := bytes.TrimSpace(s.text[dec.InputOffset():]); len(rest) > 0 {
		return nil, s.fail(s.line(int(dec.InputOffset())), "put all prompts into one array", "more after the end of the array")
	}
	return rows, nil
}

// object reads one JSON object.
func (s *source) object(line int, text []byte) (map[string]json.RawMessage, error) {
	if text[0] != '{' && json.Valid(text) {
		return nil, s.fail(line, lineHint, "not a prompt: %s, not an object", jsonkind.Of(text))
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(text, &fields); err != nil {
		if strings.HasPrefix(err.Error(), "unexpected end") {
			err = errors.New("the JSON object does not end on this line")
		}
		return nil, s.fail(line, lineHint, "not a prompt: %w", err)
	}
	if half := loneSurrogate(text); half != "" {
		return nil, s.fail(line, "write the whole character; a text was cut within it", "%s is half of a character (a lone surrogate)", half)
	}
	return fields, nil
}

// loneSurrogate is the first escape in JSON that stands for half of a character, "" if there
// is none.
func loneSurrogate(text []byte) string {
	unit := func(i int) int { // the code unit of the escape at i, -1 for none
		if i+6 > len(text) || text[i] != '\\' || text[i+1] != 'u' {
			return -1
		}
		n, err := strconv.ParseUint(string(text[i+2:i+6]), 16, 16)
		if err != nil {
			return -1
		}
		return int(n)
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		switch u := unit(i); {
		case u >= 0xd800 && u < 0xdc00:
			if low := unit(i + 6); low < 0xdc00 || low > 0xdfff {
				return string(text[i : i+6])
			}
			i += 11
		case u >= 0xdc00 && u <= 0xdfff:
			return string(text[i : i+6])
		default:
			i++ // what follows the backslash
		}
	}
	return ""
}

// table is CSV with a head line; the cells become JSON strings. Spreadsheets separate them by
// commas, semicolons or tabs.
func (s *source) table() ([]row, error) {
	first, _, _ := bytes.Cut(bytes.TrimLeft(s.text, "\r\n"), []byte("\n"))
	comma := rune(0)
	for _, c := range ",\t;" {
		head := csv.NewReader(bytes.NewReader(first))
		head.Comma = c
		if names, err := head.Read(); err == nil && slices.ContainsFunc(names, isColumn) {
			comma = c
			break
		}
	}
	if comma == 0 {
		start := strings.TrimSpace(string(first))
		if r := []rune(start); len(r) > 60 {
			start = string(r[:60]) + "..."
		}
		return nil, s.fail(1, "write one JSON object a line, or a head line that names a column \"prompt\"; columns that are known: "+strings.Join(columnNames(), ", "),
			"not a prompt: neither JSON nor a head line of CSV with a column for the prompt: %q", start)
	}
	r := csv.NewReader(bytes.NewReader(s.text))
	r.Comma = comma
	fail := func(err error) error {
		bad := (*csv.ParseError)(nil)
		if !errors.As(err, &bad) {
			return s.fail(0, "check the file", "%w", err)
		}
		hint := "put cells with quotes, commas or line breaks in quotes, and write a quote within them twice"
		if errors.Is(err, csv.ErrFieldCount) {
			hint = "give every row as many cells as the head line has; " + hint
		}
		return s.fail(bad.Line, hint, "not CSV: %w", bad.Err)
	}
	names, err := r.Read()
	if err != nil {
		return nil, fail(err)
	}
	for i, name := range names {
		names[i] = strings.TrimSpace(name)
		if name != "" && slices.Contains(names[:i], names[i]) {
			return nil, s.fail(1, "name each column once", "two columns are called %q", name)
		}
	}
	var rows []row
	for {
		cells, err := r.Read()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return nil, fail(err)
		}
		line, _ := r.FieldPos(0)
		fields := map[string]json.RawMessage{}
		for i, name := range names {
			if name != "" {
				fields[name] = quote(cells[i])
			}
		}
		rows = append(rows, row{line, len(rows) + 1, fields})
	}
}

// quote is a text in JSON.
func quote(text string) json.RawMessage {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(text) // a string in memory cannot fail
	return bytes.TrimSpace(b.Bytes())
}

// records are the prompts of the rows. Ids that are made up keep clear of those given.
func (s *source) records(rows []row) ([]Record, error) {
	records := make([]Record, len(rows))
	lineOf := map[string]int{}
	for i, row := range rows {
		r, err := fromFields(row.fields)
		if err != nil {
			return nil, s.fail(row.line, textHint, "%w", err)
		}
		records[i] = r
		if r.ID == "" {
			continue
		}
		if first, ok := lineOf[r.ID]; ok {
			return nil, s.fail(row.line, "give each prompt an id of its own, or none", "id %q was used on line %d already", r.ID, first)
		}
		lineOf[r.ID] = row.line
	}
	for i, row := range rows {
		if records[i].ID != "" {
			continue
		}
		id := strconv.Itoa(row.number)
		for n := 2; lineOf[id] != 0; n++ {
			id = fmt.Sprintf("%d-%d", row.number, n)
		}
		records[i].ID, lineOf[id] = id, row.line
	}
	return records, nil
}
