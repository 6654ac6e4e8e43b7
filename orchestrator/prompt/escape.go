package prompt

import (
	"strconv"
	"strings"
)

// Unescape replaces the escapes that llama.cpp knows; other backslashes stay.
func Unescape(s string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, `\`)
		b.WriteString(before)
		switch {
		case !found:
			return b.String()
		case after == "":
			return b.String() + `\`
		}
		taken := 1
		switch c := after[0]; c {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case '\'', '"', '\\':
			b.WriteByte(c)
		case 'x':
			if n, err := strconv.ParseUint(after[1:min(3, len(after))], 16, 8); err == nil && len(after) > 2 {
				b.WriteByte(byte(n))
				taken = 3
				break
			}
			fallthrough
		default:
			b.WriteString(`\` + after[:1])
		}
		s = after[taken:]
	}
}
