package cli

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/internal/flags"
)

// TestSpellings holds that every setting that an error may name is a flag of some verb, spelled
// as help spells it.
func TestSpellings(t *testing.T) {
	var known []string
	app := newApp(io.Discard, io.Discard)
	commands := slices.Clone(app.Commands)
	for _, c := range app.Commands {
		commands = append(commands, c.Subcommands...)
	}
	for _, c := range commands {
		for _, f := range c.Flags {
			names, _, _ := strings.Cut(flags.Help(f), "\t")
			for _, name := range strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' }) {
				known = append(known, name, "ivo "+c.Name+" "+name)
			}
		}
	}
	for _, field := range fault.Fields() {
		name := fault.Name(field)
		if !slices.Contains(known, name) {
			t.Errorf("an error may name the setting %q, which is %q here: no verb has that flag", field, name)
		}
	}
	for field := range spellings {
		if !slices.Contains(fault.Fields(), field) {
			t.Errorf("no error names the setting %q", field)
		}
	}
	if got := fault.Spell("raise {ctx}, or lower {max_tokens}"); got != "raise -c, or lower -n" {
		t.Error(got)
	}
}
