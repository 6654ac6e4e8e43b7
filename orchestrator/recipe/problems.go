package recipe

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// Problem is something in a recipe that cannot be done.
type Problem struct {
	Line int // 0 where it is the whole file's
	Text string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.Text
	}
	return fmt.Sprintf("line %d: %s", p.Line, p.Text)
}

// Problems are all that are known of a recipe, in the order of its lines.
type Problems struct {
	Path string
	List []Problem
}

func (p *Problems) Error() string {
	var lines []string
	for _, x := range p.List {
		lines = append(lines, x.String())
	}
	if len(lines) == 1 {
		return p.Path + ": " + lines[0]
	}
	return fmt.Sprintf("%s has %d problems, and nothing was started:\n%s", p.Path, len(lines), strings.Join(lines, "\n"))
}

// add notes a problem. Its text ends in what to do.
func (p *Problems) add(line int, format string, args ...any) {
	problem := Problem{line, fmt.Sprintf(format, args...)}
	if !slices.Contains(p.List, problem) {
		p.List = append(p.List, problem)
	}
}

// fail notes an error, with settings spelled as the recipe's keys.
func (p *Problems) fail(line int, what string, err error) {
	text := err.Error()
	if f := (*fault.Error)(nil); errors.As(err, &f) {
		text = strings.ReplaceAll(text, f.Error(), f.Spelled(spell))
	}
	if what != "" {
		text = what + ": " + text
	}
	p.add(line, "%s", text)
}

// err is nil where there are none.
func (p *Problems) err() error {
	if len(p.List) == 0 {
		return nil
	}
	slices.SortStableFunc(p.List, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return p
}

// keys are what settings are called in a recipe, those that have other names than elsewhere.
var keys = map[fault.Field]string{
	"samples": "n", "candidates": "k", "value_head": "value", "value_model": "model", "value_reward": "value", "proposal_beta": "proposal",
	"ctx": "context", "reward": "the reward", "prompts": "the prompts", "system_prompt": "system", "template_kwargs": "kwargs",
	"value_beta": "beta", "value_pessimistic": "pessimistic", "value_quantile": "quantile", "value_within": "within", "collect_beams": "collect.beams",
	"one_pass": "one_pass: true", "fine_tune": "ivo train with fine-tuning",
}

func spell(f fault.Field) string {
	if f == "allow_commands" || f == "out" { // no recipe's to say
		return fault.Name(f)
	}
	if key, ok := keys[f]; ok {
		return key
	}
	return string(f)
}
