package program

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// words splits a command line as a shell does, without being one: spaces separate words,
// '...' holds anything, in "..." a backslash keeps a quote or a backslash, and elsewhere any
// character, as it is. Nothing is expanded, and what a shell would act on is an error rather
// than an argument.
func words(line string) ([]string, error) {
	fail := func(at int, format string, args ...any) error {
		return fault.New("read the command", "reward", nil, `quote it, or put it into a script, as in cmd:sh score.sh`,
			"%q, character %d: "+format, append([]any{line, at + 1}, args...)...)
	}
	var out []string
	var word strings.Builder
	inside, quote, opened := false, rune(0), 0
	text := []rune(line)
	for i := 0; i < len(text); i++ {
		r := text[i]
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == '\'':
			word.WriteRune(r)
		case r == '`' || r == '$' && i+1 < len(text) && (unicode.IsLetter(text[i+1]) || strings.ContainsRune("_{(", text[i+1])):
			return nil, fail(i, "there is no shell that would replace %s", string(text[i:min(len(text), i+8)]))
		case r == '\\' && i+1 < len(text) && (quote == 0 || text[i+1] == '"' || text[i+1] == '\\'):
			i++
			word.WriteRune(text[i])
			inside = true
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, opened, inside = r, i, true
		case unicode.IsSpace(r):
			if inside {
				out = append(out, word.String())
				word.Reset()
			}
			inside = false
		case strings.ContainsRune("|&;<>()", r):
			return nil, fail(i, "there is no shell to act on %c", r)
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if quote != 0 {
		return nil, fail(opened, "the quote %c is not closed", quote)
	}
	if inside {
		out = append(out, word.String())
	}
	if len(out) == 0 {
		return nil, fault.New("", "reward", nil, "write cmd:PROGRAM, as in cmd:python3 score.py", "%w", fmt.Errorf("it names no program"))
	}
	return out, nil
}
