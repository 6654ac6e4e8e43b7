package reward

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/program"
)

// external scores by a program or a server. What it gets of an item is its record, with
// "response" and "finish" beside the record's own fields.
type external struct {
	scorer
	info Info
}

type scorer interface {
	Score(ctx context.Context, items []json.RawMessage) ([]program.Answer, error)
	// Try sees whether Score will go well.
	Try(ctx context.Context, items []json.RawMessage) error
	Close() error
}

func (o Options) program() program.Options {
	return program.Options{Timeout: o.Timeout, Workers: o.Workers}
}

// ErrCommand is the error of a spec that would start a program where none may be started.
var ErrCommand = errors.New("a command runs only for whoever names it, never because a file does")

func openCommand(line string, o Options) (Model, error) {
	if !o.AllowCommands {
		return nil, fault.New("", "reward", nil, "name it with {reward} on the command line", "%w", ErrCommand)
	}
	c, err := program.NewCommand(line, o.program())
	if err != nil {
		return nil, err
	}
	return external{c, Info{Name: "cmd:" + line, Fingerprint: c.Fingerprint(), Lo: math.Inf(-1), Hi: math.Inf(1)}}, nil
}

// openServer takes what follows the scheme, or an address of its own as in "http:https://...".
func openServer(scheme, address string, o Options) (Model, error) {
	if !strings.Contains(address, "://") {
		address = scheme + ":" + address
	}
	s, err := program.NewServer(address, o.program())
	if err != nil {
		return nil, err
	}
	return external{s, Info{Name: s.Name(), Fingerprint: s.Fingerprint(), Lo: math.Inf(-1), Hi: math.Inf(1)}}, nil
}

func (e external) Info() Info { return e.info }

func (e external) Score(ctx context.Context, items []Item) ([]Score, error) {
	lines, err := encode(items)
	if err != nil {
		return nil, err
	}
	answers, err := e.scorer.Score(ctx, lines)
	if err != nil {
		return nil, err
	}
	scores := make([]Score, len(answers))
	for i, a := range answers {
		scores[i] = Score(a)
	}
	return scores, nil
}

// Check tries it on two responses to the first prompt, so that what never scores anything is
// found before there are responses.
func (e external) Check(ctx context.Context, records []prompt.Record) error {
	if len(records) == 0 {
		return nil
	}
	lines, err := encode([]Item{{Prompt: records[0], Finish: "stop"}, {Prompt: records[0], Response: "Yes.", Finish: "stop"}})
	if err != nil {
		return err
	}
	if err := e.Try(ctx, lines); err != nil {
		return fmt.Errorf("tried on prompt %q: %w", records[0].ID, err)
	}
	return nil
}

// encode writes items as JSON objects. A record's own field "response" or "finish" gives way.
func encode(items []Item) (lines []json.RawMessage, err error) {
	for _, it := range items {
		fields := maps.Clone(it.Prompt.Fields)
		if fields == nil {
			fields = map[string]json.RawMessage{}
		}
		delete(fields, "finish")
		if it.Finish != "" {
			if fields["finish"], err = text(it.Finish); err != nil {
				return nil, err
			}
		}
		if fields["response"], err = text(it.Response); err != nil {
			return nil, err
		}
		it.Prompt.Fields = fields
		line, err := text(it.Prompt)
		if err != nil {
			return nil, fmt.Errorf("prompt %q: %w", it.Prompt.ID, err)
		}
		lines = append(lines, line)
	}
	return lines, nil
}

// text is a value as JSON, in which < and > stay what they are.
func text(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}
