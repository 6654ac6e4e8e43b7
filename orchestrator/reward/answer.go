package reward

import (
	"encoding/json"
	"math/big"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// openAnswer makes "answer", 1 where the response comes to the answer that its record has in the
// field "answer", "target" or "solution" (the first of them; "answer:FIELD" names another), else
// 0. An empty response has 0.
//
// A text marks its answer by \boxed{...}, of which the last counts, or by a line "#### 42" (the
// form of GSM8K; a heading of Markdown that is more than a number counts on the last line
// only). A response that marks none answers with its last number; a record that marks none is
// the answer as a whole. Two answers are equal if
//
//   - both are numbers of the same value: 1,000 = 1000.0 = $1,000. = 1e3, 1/2 = 0.5 = \frac{1}{2},
//     50% = 50; with something before an equals sign or a unit behind, as x = 5 \text{ cm};
//   - or the texts agree but for case, spaces, dollar signs and a last full stop. Here a
//     response that marks no answer is the answer as a whole.
func openAnswer(argument string, _ Options) (Model, error) {
	fields := []string{"answer", "target", "solution"}
	if argument != "" {
		fields = []string{argument}
	}
	return rule{
		info:  Info{Name: name("answer", argument), Fingerprint: "answer 1 " + strings.Join(fields, " "), Hi: 1},
		needs: func(p prompt.Record) error { _, err := goldAnswer(p, fields); return err },
		score: func(it Item) (float64, error) {
			gold, err := goldAnswer(it.Prompt, fields)
			if err != nil {
				return 0, err
			}
			return indicator(answers(it.Response, gold)), nil
		},
	}, nil
}

// goldAnswer is the answer of the first of the fields that the record has.
func goldAnswer(p prompt.Record, fields []string) (string, error) {
	const hint = `give every record an "answer", or name the field that has it: {reward} answer:FIELD`
	for _, field := range fields {
		raw := p.Fields[field]
		if len(raw) == 0 || string(raw) == "null" {
			continue
		}
		var text string
		var number json.Number
		if json.Unmarshal(raw, &text) != nil && json.Unmarshal(raw, &number) != nil {
			return "", fault.New("", "reward", nil, hint, "its field %q is neither a text nor a number", field)
		}
		text += number.String()
		if marked, ok := markedAnswer(text); ok {
			text = marked
		}
		if text = strings.TrimSpace(text); text != "" {
			return text, nil
		}
	}
	return "", fault.New("", "reward", nil, hint, "it has no answer (looked for %s)", strings.Join(fields, ", "))
}

// answers reports whether a response comes to the gold answer.
func answers(response, gold string) bool {
	marked, ok := markedAnswer(response)
	if want := quantity(gold); want != nil {
		var got *big.Rat
		if ok {
			got = quantity(marked)
		} else if all := numbers(response); len(all) > 0 {
			got = all[len(all)-1].value
		}
		if got != nil {
			return got.Cmp(want) == 0
		}
	}
	if !ok {
		marked = response
	}
	got := plainAnswer(marked)
	return got != "" && got == plainAnswer(gold)
}

// plainAnswer is a text without what does not tell answers apart.
func plainAnswer(text string) string {
	text = strings.ToLower(strings.Join(strings.Fields(strings.ReplaceAll(text, "$", "")), ""))
	return strings.TrimSuffix(text, ".")
}

// justNumber is a line's end that has a number and no words.
var justNumber = regexp.MustCompile(`^[-\d.,/$%\s]*\d[-\d.,/$%\s]*$`)

// markedAnswer is what a text marks as its answer.
func markedAnswer(text string) (string, bool) {
	const box = `\boxed`
	for rest := text; ; {
		at := strings.LastIndex(rest, box)
		if at < 0 {
			break
		}
		if inside, ok := braced(text[at+len(box):]); ok {
			return inside, true
		}
		rest = rest[:at] // this one was cut off, or is talk about boxes
	}
	last := true
	for rest := strings.TrimSpace(text); rest != ""; last = false {
		line := rest[strings.LastIndexByte(rest, '\n')+1:]
		if _, after, ok := strings.Cut(line, "####"); ok && (last || justNumber.MatchString(after)) {
			return strings.TrimSpace(after), true
		}
		rest = strings.TrimSuffix(rest[:len(rest)-len(line)], "\n")
	}
	return "", false
}

// braced is what stands in the braces that a text begins with, pairs inside them included.
func braced(text string) (string, bool) {
	text = strings.TrimLeft(text, " ")
	if !strings.HasPrefix(text, "{") {
		return "", false
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++ // \{ and \} are signs, no braces
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return text[1:i], true
			}
		}
	}
	return "", false
}

// numeral is a number where it stands in a text.
type numeral struct {
	value *big.Rat
	start int // the byte where it begins, with its sign
}

var (
	// spelling brings the ways to write a number together: currencies, LaTeX's spaces and thousands.
	spelling = strings.NewReplacer(`\$`, "", "$", "", "€", "", "£", "", `\!`, "", `\,`, "", "{,}", ",", "\u2212", "-")
	fraction = regexp.MustCompile(`\\[dt]?frac\s*(?:\{\s*(-?[\d.,]+)\s*\}\s*\{\s*([\d.,]+)\s*\}|(\d)(\d))`)
	digits   = regexp.MustCompile(`(\d+(?:,\d+)*(?:\.\d+)?|\.\d+)([eE][-+]?\d{1,3})?(?:/(\d+(?:\.\d+)?))?`)
	grouped  = regexp.MustCompile(`^\d{1,3}(,\d{3})+(\.\d+)?$`)
)

// respell is a text in which numbers finds its numbers.
func respell(text string) string {
	return fraction.ReplaceAllString(spelling.Replace(text), "$1$3/$2$4")
}

// numbers are those of a text, in order. Commas are part of a number where they part it in
// thousands, and a sign is where it does not subtract from what stands before it.
func numbers(text string) []numeral {
	text = respell(text)
	var all []numeral
	for _, span := range digits.FindAllStringSubmatchIndex(text, -1) {
		part := func(i int) string {
			if span[2*i] < 0 {
				return ""
			}
			return text[span[2*i]:span[2*i+1]]
		}
		n := numeral{start: span[0]}
		mantissa := part(1)
		if at := strings.LastIndexByte(mantissa, ','); at >= 0 && !grouped.MatchString(mantissa) {
			// A list such as 3,5: its numbers are whole ones up to the last.
			for _, item := range strings.Split(mantissa[:at], ",") {
				value, _ := new(big.Rat).SetString(item)
				all = append(all, numeral{value, n.start})
				n.start += len(item) + 1
			}
			mantissa = mantissa[at+1:]
		}
		var ok bool
		if n.value, ok = new(big.Rat).SetString(strings.ReplaceAll(mantissa, ",", "") + part(2)); !ok {
			continue
		}
		if part(3) != "" {
			divisor, ok := new(big.Rat).SetString(part(3))
			if !ok || divisor.Sign() == 0 {
				continue
			}
			n.value.Quo(n.value, divisor)
		}
		if before, ok := strings.CutSuffix(text[:n.start], "-"); ok {
			r, _ := utf8.DecodeLastRuneInString(before)
			if before == "" || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(")]}.%-", r) {
				n.value.Neg(n.value)
				n.start--
			}
		}
		all = append(all, n)
	}
	return all
}

// quantity is the number that an answer is, with what follows an equals sign alone looked at and
// a unit allowed behind it; nil where it is none.
func quantity(answer string) *big.Rat {
	text := strings.TrimSpace(respell(answer[strings.LastIndexByte(answer, '=')+1:]))
	all := numbers(text)
	if len(all) != 1 || all[0].start != 0 {
		return nil
	}
	return all[0].value
}
