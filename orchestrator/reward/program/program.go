// Package program scores by what people bring: a program that is started here ([Command]) or
// a server that is asked over HTTP ([Server]). Both get items as JSON objects and give a
// number or an error for each of them, whatever else goes wrong. A language model that a server has is
// asked in the same way ([Chat]), and gives a text. The package knows nothing of what is in the items but that
// an "id" names them.
package program

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/cenkalti/backoff/v5"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Answer is the score of one item, or why it has none.
type Answer struct {
	Value float64 // finite where Err is nil
	Err   error
}

// Options say how programs and servers are asked. The zero value will do.
type Options struct {
	Timeout time.Duration // for one answer of a program or server; 0 for two minutes
	Workers int           // programs or requests at once; 0 for one program, four requests
	Batch   int           // most items of a request; 0 for 16

	// Tests have clocks of their own.
	timeout func(context.Context, time.Duration) (context.Context, context.CancelFunc)
	pause   func(time.Duration) time.Duration // how long a pause of this length takes
}

func (o Options) withDefaults(workers int) Options {
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Minute
	}
	if o.Workers <= 0 {
		o.Workers = workers
	}
	if o.Batch <= 0 {
		o.Batch = 16
	}
	if o.timeout == nil {
		o.timeout = context.WithTimeout
	}
	if o.pause == nil {
		o.pause = func(d time.Duration) time.Duration { return d }
	}
	return o
}

// readAnswer reads what was answered to an item: a number, an object with a "score" or a
// "reward", or one with an "error". An object may repeat the item's id, and then has to.
// null has no error here, and known is false; broken is an answer that is none at all.
func readAnswer(data, id []byte) (a Answer, known bool, broken error) {
	data = numbers(data)
	var object struct {
		ID     json.RawMessage `json:"id"`
		Score  json.RawMessage `json:"score"`
		Reward json.RawMessage `json:"reward"`
		Error  json.RawMessage `json:"error"`
	}
	value := data
	switch {
	case !json.Valid(data):
		return Answer{}, false, fmt.Errorf("%s stands where a number is expected", show(data))
	case data[0] == '{':
		if err := json.Unmarshal(data, &object); err != nil {
			return Answer{}, false, err
		}
		if len(object.ID) > 0 && len(id) > 0 && !bytes.Equal(bytes.Trim(object.ID, `"`), bytes.Trim(id, `"`)) {
			return Answer{}, false, fmt.Errorf("it answers to the id %s where %s was asked", show(object.ID), show(id))
		}
		if len(object.Error) > 0 && string(object.Error) != "null" && string(object.Error) != `""` {
			var text string
			if json.Unmarshal(object.Error, &text) != nil {
				text = string(object.Error)
			}
			return Answer{Err: errors.New(clean(text, maxShown))}, true, nil
		}
		if value = object.Score; len(value) == 0 {
			value = object.Reward
		}
		if len(value) == 0 {
			return Answer{Err: fmt.Errorf(`%s has neither a "score" nor an "error"`, show(data))}, true, nil
		}
	}
	if string(value) == "null" {
		return Answer{}, false, nil
	}
	text := string(value)
	if quoted := ""; json.Unmarshal(value, &quoted) == nil && unfinished[quoted] {
		text = quoted
	}
	v, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		a.Err = fmt.Errorf("%s stands where a number is expected", show(value))
	case math.IsNaN(v) || math.IsInf(v, 0):
		a.Err = fmt.Errorf("the score is %s, and has to be a finite number", text)
	default:
		a.Value = v
	}
	return a, true, nil
}

// unfinished are the numbers that JSON lacks, as languages print them.
var unfinished = map[string]bool{
	"NaN": true, "nan": true, "Infinity": true, "-Infinity": true, "inf": true, "-inf": true, "Inf": true, "-Inf": true, "+Inf": true,
}

// numbers trims JSON and puts the numbers that it lacks into quotes, outside its strings.
func numbers(data []byte) []byte {
	data = bytes.TrimSpace(data)
	if json.Valid(data) {
		return data
	}
	var out []byte
	for i := 0; i < len(data); {
		n := 1
		switch c := data[i]; {
		case c == '"':
			for n < len(data)-i && data[i+n] != '"' {
				if data[i+n] == '\\' {
					n++
				}
				n++
			}
			n = min(n+1, len(data)-i)
		case c == '-' || c == '+' || unicode.IsLetter(rune(c)):
			for n < len(data)-i && unicode.IsLetter(rune(data[i+n])) {
				n++
			}
			if unfinished[string(data[i:i+n])] {
				out = strconv.AppendQuote(out, string(data[i:i+n]))
				i += n
				continue
			}
		}
		out = append(out, data[i:i+n]...)
		i += n
	}
	return out
}

const maxShown = 300 // bytes of foreign text in an error

// show quotes foreign text for an error.
func show(data []byte) string { return strconv.Quote(clean(string(data), maxShown)) }

// clean makes foreign text fit to be shown: no control characters, and no more than its
// beginning.
func clean(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\n' || r == '\t' {
			return r
		}
		return -1
	}, strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD")))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " ..."
	}
	return text
}

// identity is the id of an item, for answers that repeat it.
func identity(item json.RawMessage) []byte {
	var head struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(item, &head) != nil {
		return nil
	}
	return head.ID
}

// A streak counts failures in a row, over all workers of a call, and ends the call's work when
// they are too many: what fails for each item fails for good.
type streak struct {
	limit int
	pause func(time.Duration) time.Duration

	mu       sync.Mutex
	failures int
	delays   *backoff.ExponentialBackOff
	over     error // why no more work is done
}

// fail counts a failure.
func (s *streak) fail(err error, fatal bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures++; s.over == nil && (fatal || s.failures >= s.limit) {
		s.over = err
	}
}

func (s *streak) succeed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = 0
	s.delays.Reset()
}

// err is why no more work is to be done.
func (s *streak) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// wait pauses after failures, longer after each.
func (s *streak) wait(ctx context.Context) error {
	s.mu.Lock()
	var d time.Duration
	if s.failures > 0 {
		d = s.pause(s.delays.NextBackOff())
	}
	s.mu.Unlock()
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// delays double from first on, within a factor of 1/2 to 3/2, so that clients that failed
// together do not come back together.
func delays(first, most time.Duration) *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{InitialInterval: first, MaxInterval: most, Multiplier: 2, RandomizationFactor: 0.5}
}

// skipped is the error of items that were not tried after all.
func skipped(why error) error {
	return fault.New("", "reward", nil, "run it again when the reward works: what has a score keeps it", "not scored, because of failures before it: %w", why)
}

// finish is what a call returns: its answers, or why none of them is one. err is why an answer is none.
func finish[T any](ctx context.Context, answers []T, err func(T) error, over error) ([]T, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if over != nil && !slices.ContainsFunc(answers, func(a T) bool { return err(a) == nil }) {
		return nil, over
	}
	return answers, nil
}

func (a Answer) err() error { return a.Err }
