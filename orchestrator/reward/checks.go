package reward

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward/check"
)

// openChecks makes "checks", the share of the verifiable instructions of its record that a
// response meets. They stand in the fields of IFEval's and IFBench's published files:
//
//	"instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
//	"kwargs": [{}, {"relation": "at least", "num_words": 100}]
//
// "checks:loose" forgives what is said around an answer ([check.Instruction.MetLoosely]), and
// "checks:all" is 1 where all are met, else 0; "checks:loose:all" is both.
func openChecks(argument string, _ Options) (Model, error) {
	met, all := check.Instruction.Met, false
	for _, word := range strings.FieldsFunc(argument, func(r rune) bool { return r == ':' }) {
		switch word {
		case "loose":
			met = check.Instruction.MetLoosely
		case "all":
			all = true
		default:
			return nil, badArgument("checks", argument, "checks, checks:loose, checks:all or checks:loose:all")
		}
	}
	return rule{
		info:  Info{Name: name("checks", argument), Fingerprint: name("checks "+check.Version, argument), Hi: 1},
		needs: func(p prompt.Record) error { _, err := instructions(p); return err },
		score: func(it Item) (float64, error) {
			is, err := instructions(it.Prompt)
			if err != nil {
				return 0, err
			}
			missed := slices.DeleteFunc(slices.Clone(is), func(i check.Instruction) bool { return met(i, it.Response) })
			if all {
				return indicator(len(missed) == 0), nil
			}
			return 1 - float64(len(missed))/float64(len(is)), nil
		},
	}, nil
}

// instructions are those of a record.
func instructions(p prompt.Record) ([]check.Instruction, error) {
	const hint = `give every record "instruction_id_list", such as ["punctuation:no_comma"], and "kwargs", such as [{}], or choose another {reward}`
	var ids []string
	var kwargs []json.RawMessage
	for field, to := range map[string]any{"instruction_id_list": &ids, "kwargs": &kwargs} {
		if raw, ok := p.Fields[field]; ok && json.Unmarshal(raw, to) != nil {
			return nil, fault.New("", "reward", nil, hint, "its field %q is no such list: %.80s", field, raw)
		}
	}
	if len(ids) == 0 {
		return nil, fault.New("", "reward", nil, hint, "it has no instructions")
	}
	return check.Parse(ids, kwargs)
}
