package jinja

import (
	"errors"
	"strings"
	"testing"
	"time"
)

var sample = Params{
	Messages: []Message{{"user", "hé", nil}, {"assistant", "x", nil}},
	BOS:      "<s>", EOS: "</s>",
	Now: time.Date(2024, 7, 5, 15, 4, 9, 0, time.UTC),
}

// What is expected is what Jinja2 gives in Python.
var rendered = map[string]string{
	// White space around tags.
	"a\n  {% if true %}\n  b\n  {% endif %}\n  c\n": "a\n  b\n  c",
	"  {# c #}\n  x\n\n":                            "  x\n",
	"  {{ 1 }}\n x":                                 "  1\n x",
	"a {% if true %}b{% endif %} c":                 "a b c",
	"\t{%+ if true %} a{% endif +%}\n b":            "\t a\n b",
	"x {%- if true -%}\n\n y {%- endif -%} \n z":    "xyz",
	"{%- set x = 1 -%}  {{- x -}}  {#- c -#}  z":    "1z",
	"{% raw %}\n {{ x }}\n{% endraw %}\n y":         "\n {{ x }}\n y",
	"a\r\nb\r{% if true %}\r\nc{% endif %}\r":       "a\nb\nc",
	"{ {{ '}' }} } {%if true%}x{%endif%} {":         "{ } } x {",
	"{{ {'a': {}} }}{{ '{{' }}":                     "{'a': {}}{{",
	// Literals and operators.
	`{{ '\'' }}{{ "a\"b" }}{{ '\x41\u00e9\101\q\\n' }}{{ 'a' "b" }}`:                                             `'a"bAéA\q\nab`,
	"{{ \"line \\\ngoes on\" }}":                                                                                 "line goes on",
	"{{ 1_000 }} {{ 0x1f }} {{ 1.0 }} {{ 1e20 }} {{ 0.00001 }} {{ 123456.75 }}":                                  "1000 31 1.0 1e+20 1e-05 123456.75",
	"{{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2**3 }} {{ 2**-1 }} {{ -7.5 // 2 }} {{ 7 % -3 }}":                 "-4 2 3.5 8 0.5 -4.0 -2",
	"{{ 'a' ~ 1 ~ none ~ true ~ zz ~ [1, 'b'] }}":                                                                "a1NoneTrue[1, 'b']",
	"{{ [1] + [2] }}{{ (1,) }}{{ 'ab' * 2 }}{{ true + 1 }}{{ 1 ~ 2 * 3 }}":                                       "[1, 2](1,)abab216",
	"{{ 1 < 2 < 1 }} {{ 1 < 2 <= 2 }} {{ not not 1 }} {{ not 'a' in 'b' }}":                                      "False True True True",
	"{{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ [1] == (1,) }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }}": "True True False False True",
	"{{ 'a' and 'b' }}{{ '' or 'c' }}{{ none or zz or 0 }}":                                                      "bc0",
	"{{ 'é' in 'hé' }} {{ 3 not in [1, 2] }} {{ 'k' in {'k': 1} }} {{ 'x' in zz }}":                              "True True True False",
	"{{ 'a' if false }}|{{ 1 if false else 2 if false else 3 }}|{{ ('a' if true else 'b') + 'c' }}":              "|3|ac",
	"{{ 'line' 's' | upper }} {{ -1 | abs }} {{ 1 + 2 | string | length }}":                                      "LINES 1 2",
	`{{ 'a<'|safe + "<&'\"" + '>' }}{{ '<' + 'b'|safe }}{{ 'c'|safe + ('<' + '>') }}{{ 'd'|safe ~ '<' }}`:        `a<&lt;&amp;&#39;&#34;&gt;&lt;bc&lt;&gt;d<`,
	// Elements, attributes, slices.
	"{{ messages.0.role }} {{ messages[-1]['content'] }} {{ messages[9] is defined }} {{ messages[0].zz is defined }}": "user x False False",
	"{{ [1,2,3][::-1] }}{{ [1,2,3][-2:] }}{{ [1,2,3][:-1] }}{{ [1,2,3][::2] }}{{ 'héllo'[1:-1] }}{{ 'abc'[::-1] }}":    "[3, 2, 1][2, 3][1, 2][1, 3]éllcba",
	"{{ {'items': 1}['items'] }}{{ {'a': 1}.a }}{{ {'a': 1}.items() }}{{ {'z': 1, 'a': 2}.keys() | list }}":            "11[('a', 1)]['z', 'a']",
	"{{ {'a': 1}.get('a') }}{{ {}.get('a') }}{{ {}.get('a', 'd') }}":                                                   "1Noned",
	"{{ none.a is defined }} {{ 'x'.zz is defined }} {{ none['a'] is defined }}":                                       "False False False",
	// Statements and scopes.
	"{% set x = 1 %}{% for i in [1, 2] %}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}":                                                           "231",
	"{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}":                                                                               "2",
	"{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}":                                         "6",
	"{% set a, b = 1, 2 %}{{ b }}{% set x %}<{{ a }}>{% endset %}{{ x }}":                                                                         "2<1>",
	"{% for k, v in {'z': 1, 'a': 2}.items() %}{{ k }}{{ v }}{{ ';' if not loop.last }}{% endfor %}":                                              "z1;a2",
	"{% for i in range(2, 9, 3) %}{{ loop.index }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.previtem }}{{ loop.nextitem }}{{ i }} {% endfor %}": "12True52 21False285 30False58 ",
	"{% for i in range(9) %}{% if i == 1 %}{% continue %}{% elif i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}":                              "023",
	"{% for m in messages if m.role == 'user' %}{{ loop.length }}{% else %}none{% endfor %}":                                                      "1",
	"{% filter trim | upper %} a{{ 1 }}b{% set x = 2 %} {% endfilter %}{{ x is defined }}{% filter replace('a', 'b') %}aa{% endfilter %}":         "A1BFalsebb",
	"{% set a = [1, 2, 3] %}{% set b = a[:2] %}{% set _ = b.append(9) %}{{ a }}{{ b }}{{ b.append(4) }}{{ a.pop(0) }}{{ a.pop() }}{{ a }}{{ b }}": "[1, 2, 3][1, 2, 9]None13[2][1, 2, 9, 4]",
	"{% for m in zz %}x{% else %}none{% endfor %}{% for c in 'né' %}[{{ c }}]{% endfor %}":                                                        "none[n][é]",
	"{% macro f(x, y='d') %}<{{ x }}{{ y }}>{% endmacro %}{{ f(1) + 'a' }}{{ f(y=2) }}":                                                           "<1d>a<2>",
	"{% macro f(n) %}{% if n %}{{ n }}{{ f(n - 1) }}{{ g }}{% endif %}{% endmacro %}{% set g = '!' %}{{ f(3) }}":                                  "321!!!",
	"{% generation %}a{% set x = 1 %}{% endgeneration %}{{ x is defined }}":                                                                       "aFalse",
	"{% if false %}{{ 1 | nosuch }}{% endif %}ok":                                                                                                 "ok",
	// Tests.
	"{{ none is defined }} {{ zz is defined }} {{ zz is none }} {{ tools is undefined }} {{ raise_exception is defined }}":                                              "True False False True True",
	"{{ 'a' is string }} {{ {} is mapping }} {{ [] is iterable }} {{ [] is mapping }} {{ 'a' is sequence }} {{ 1 is number }}":                                          "True True True False True True",
	"{{ 0 is false }} {{ false is false }} {{ 1 is boolean }} {{ true is integer }} {{ 1.0 is float }} {{ 3 is odd }} {{ 4 is divisibleby 3 }} {{ 'a' is not in 'b' }}": "False True False False True True False True",
	// Filters.
	"{{ ' a ' | trim }}|{{ [3, 1, 2] | sort | join('-') }}|{{ 'abc' | first }}{{ 'abc' | last }}|{{ [] | first is defined }}":                                                                             "a|1-2-3|ac|False",
	"{{ messages | map(attribute='role') | join(',') }} {{ ['a'] | map('upper') | list }} {{ [{}] | map(attribute='a', default='d') | list }}":                                                            "user,assistant ['A'] ['d']",
	"{{ messages | selectattr('role', 'equalto', 'user') | list | length }}{{ messages | rejectattr('role', 'eq', 'x') | list | length }}{{ [0, 1] | select | list }}{{ [1, 2] | reject('odd') | list }}": "12[1][2]",
	"{{ zz | default('d') }}{{ none | default('d') }}{{ '' | default('d', true) }}":                                                                                                                       "dNoned",
	"{{ {'b': 1, 'A': 2} | dictsort }}{{ {'a': 1} | items | list }}{{ [1, 1, 2] | unique | list }}{{ [1, 3] | max }}{{ [1, 3] | sum }}":                                                                   "[('A', 2), ('b', 1)][('a', 1)][1, 2]34",
	"{{ 'a\nb\n\nc' | indent(2) }}|{{ 'hello wORLD' | title }}|{{ 'aaa' | replace('a', 'b', 2) }}|{{ '7' | int + 1 }}|{{ 2.5 | round }}":                                                                  "a\n  b\n\n  c|Hello World|bba|8|2.0",
	// Methods of strings.
	"{{ ' x '.strip() }}{{ 'xxa'.lstrip('x') }}{{ 'a b'.split()[-1] }}{{ 'a,b,c'.split(',', 1) }}{{ 'a,b,c'.rsplit(',', 1) }}":                      "xab['a', 'b,c']['a,b', 'c']",
	"{{ 'ab'.startswith('a') }}{{ 'ab'.endswith(('x', 'b')) }}{{ 'éab'.find('b') }}{{ 'aXb'.upper().lower().title() }}{{ 'a-b'.replace('-', '') }}": "TrueTrue2Axbab",
	"{{ 'a\nb\n'.splitlines() }}{{ '12'.isdigit() }}{{ ','.join(['a', 'b']) }}{{ 'abc'.removeprefix('a') }}{{ \"it's\" }}{{ [\"it's\"] }}":          "['a', 'b']Truea,bbcit's[\"it's\"]",
	// Format strings.
	"{{ '<{}|{}>{{}}'.format('a', 1) }}{{ '{1}{0}{1}'.format('a', none) }}{{ '{x.role}{x[content]}{y[1]}'.format(x=messages[0], y=[1, 2]) }}": "<a|1>{}NoneaNoneuserhé2",
	"{{ '{!r}{!s}'.format('a', [1]) }}{{ '{:>4}|{:*^5}|{:<3}|{:.2}|{:é<3}'.format('a', 'é', 'b', 'abc', 'x') }}":                              "'a'[1]   a|**é**|b  |ab|xéé",
	"{{ '{:5}|{:05d}|{:+}|{:,}|{:x}|{:<4}|{:^4}|{:=+6}'.format(42, -42, 3, 1234567, 255, 7, 7, 5) }}":                                         "   42|-0042|+3|1,234,567|ff|7   | 7  |+    5",
	"{{ '{:.2f}|{:8.3f}|{:%}|{:.0%}|{:,.1f}|{:e}|{:.1f}|{}'.format(1.005, -2.5, 0.5, 0.25, 12345.67, 1500.0, 3, 0.1) }}":                      "1.00|  -2.500|50.000000%|25%|12,345.7|1.500000e+03|3.0|0.1",
	"{{ '{:{}}|{:{w}.{p}f}'.format('a', 3, 1.0, w=5, p=1) }}{{ '{:>3}'.format(true) }}":                                                       "a  |  1.0  1",
	// JSON as Python writes it.
	`{{ {'z': 1, 'a': [none, true, 1.5, 'é"\n<']} | tojson }}`:                                                     `{"z": 1, "a": [null, true, 1.5, "é\"\n<"]}`,
	`{{ [1, {'a': []}] | tojson(indent=2) }}`:                                                                      "[\n  1,\n  {\n    \"a\": []\n  }\n]",
	`{{ {'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) }}{{ '😀é' | tojson(ensure_ascii=true) }}`: `{"a":2,"b":1}"\ud83d\ude00\u00e9"`,
	// Time.
	"{{ strftime_now('%Y-%m-%d %H:%M:%S %B %b %A %a %j %y %I %p %-d %-m %e %% %q') }}": "2024-07-05 15:04:09 July Jul Friday Fri 187 24 03 PM 5 7  5 % %q",
}

func TestRender(t *testing.T) {
	for template, want := range rendered {
		got, err := Render(template, sample)
		if err != nil {
			t.Errorf("%q: %v", template, err)
		} else if got != want {
			t.Errorf("%q\n got %q\nwant %q", template, got, want)
		}
	}
}

func TestErrors(t *testing.T) {
	deep := strings.Repeat("(", 1e5)
	for template, want := range map[string]string{
		"\n{{ raise_exception('no ' ~ 'way') }}": "line 2: it refuses this chat: no way",
		"{{ [raise_exception('q')] }}":           "it refuses this chat: q",
		// What does not parse.
		"a\n\n{% if x %}":            "line 3: expected {% endif %}, got the end of the template",
		"{% if true %}{% endfor %}":  "the tag 'endfor' is unknown",
		"{% include 'x' %}":          "the tag 'include' is unknown or not supported",
		"{% for x in y recursive %}": "recursive loops",
		"{% break %}":                "break outside a loop",
		"{{ 'a }}":                   "a string is not closed",
		"{{ 1":                       "a tag is not closed",
		"{# x":                       "a comment is not closed",
		"{% raw %}x":                 "a raw block is not closed",
		"{{ (1] }}":                  "unexpected ']'",
		"{{ a b }}":                  "expected }}, got 'b'",
		"{{ }}":                      "expected an expression, got }}",
		"{{ a ? b }}":                "unexpected character '?'",
		"{{ '\\ud' }}":               "within an escape",
		"{{ 99999999999999999999 }}": "out of range",
		"{% set 1 = 2 %}":            "expected a name",
		"{% macro f(a=1, b) %}":      "expected a default",
		"{{ f(a=1, 2) }}":            "expected a named argument",
		// What cannot be done.
		"{{ zz.a }}":                                       "'zz' is undefined",
		"{{ messages[0].zz.a }}":                           "a mapping has no attribute 'zz'",
		"{{ zz() }}":                                       "'zz' is undefined",
		"{{ 'x'.zz() }}":                                   "no attribute 'zz'",
		"{{ none() }}":                                     "none cannot be called",
		"{{ 'a' + 1 }}":                                    "a string + an integer",
		"{{ none + 'a' }}":                                 "none + a string",
		"{{ 'a' < 1 }}":                                    "have no order",
		"{{ 1 // 0 }}{{ 1 % 0 }}":                          "division by zero",
		"{{ 9223372036854775807 + 1 }}":                    "out of range",
		"{{ -(-9223372036854775807 - 1) }}":                "out of range",
		"{{ 3 ** 99 }}":                                    "out of range",
		"{{ 1 | nosuch }}":                                 "the filter 'nosuch'",
		"{{ 1 is nosuch }}":                                "the test 'nosuch'",
		"{% for i in none %}{% endfor %}":                  "none cannot be iterated",
		"{% for a, b in [(1,)] %}{% endfor %}":             "1 values for 2 names",
		"{% set x = 1 %}{% set x.y = 2 %}":                 "on a namespace only",
		"{{ [1].extend([2]) }}":                            "no attribute 'extend'",
		"{{ (1,).append(2) }}":                             "a tuple cannot be changed",
		"{{ [].pop() }}":                                   "pop from a list of 0",
		"{% set a = [] %}{% set _ = a.append(a) %}{{ a }}": "nested more than",
		"{% for i in [1] %}{% filter trim %}{% break %}{% endfilter %}{% endfor %}": "break outside a loop",
		"{{ {[1]: 2} }}":                          "no keys that are a list",
		"{{ raise_exception | tojson }}":          "cannot be written as JSON",
		"{{ 'a'.split('') }}":                     "not empty",
		"{{ [1][::0] }}":                          "step cannot be zero",
		"{{ trim(1) }}":                           "'trim' is undefined",
		"{{ 'a'.replace('a') }}":                  "needs the argument 'new'",
		"{% macro f() %}{% endmacro %}{{ f(1) }}": "at most 0 arguments",
		"{{ '{}'.format() }}":                     "a field 0, which was not given",
		"{{ '{x}'.format(1) }}":                   "a field 'x', which was not given",
		"{{ '{}{0}'.format(1) }}":                 "with and without numbers",
		"{{ '{0}{}'.format(1) }}":                 "with and without numbers",
		"{{ '{'.format(1) }}":                     "not closed",
		"{{ '}'.format(1) }}":                     "single '}'",
		"{{ '{!a}'.format(1) }}":                  "the conversion 'a'",
		"{{ '{:q}'.format(1) }}":                  "the format 'q' is not known",
		"{{ '{:d}'.format('a') }}":                "does not suit a string",
		"{{ '{:3}'.format(none) }}":               "does not suit none",
		"{{ '{:{:{}}}'.format(1, 2, 3) }}":        "fields within fields",
		"{{ '{:999999999}'.format(1) }}":          "wider than",
		// Bounds.
		strings.Repeat("a", maxTemplate+1):                                                                               "too long",
		"{{ " + deep + " }}":                                                                                             "unexpected '}'",
		"{{ " + deep + strings.Repeat(")", 1e5):                                                                          "a tag is not closed",
		"{{ " + deep + strings.Repeat(")", 1e5) + "}}":                                                                   "nested more than",
		"{{ " + strings.Repeat("not ", 1e5) + "a }}":                                                                     "nested more than",
		"{{ " + strings.Repeat("-", 1e5) + "1 }}":                                                                        "nested more than",
		"{{ " + strings.Repeat("[", 1e5) + strings.Repeat("]", 1e5) + "}}":                                               "nested more than",
		strings.Repeat("{% if a %}", 1e4):                                                                                "nested more than",
		"{{ 1" + strings.Repeat(" + 1", 1e5) + " }}":                                                                     "nest more than",
		"{{ x" + strings.Repeat("['a']", 1e5) + " }}":                                                                    "nest more than",
		"{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}":                                                                "a macro calls itself",
		"{{ range(10**9) }}":                                                                                             "more than 100000 elements",
		"{% set x = range(99999) %}{% for i in x %}{% for j in x %}{% endfor %}{% endfor %}":                             "steps",
		"{% set x = range(99999) %}{% for i in x %}{{ x }}{% endfor %}":                                                  "MiB",
		"{{ 'a' * 10**15 }}":                                                                                             "MiB",
		"{{ [1] * 10**15 }}":                                                                                             "MiB",
		"{{ 'a' | indent(10**15) }}":                                                                                     "MiB",
		"{% set x = 'abc' %}" + strings.Repeat("{% set x = x ~ x %}", 99):                                                "MiB",
		"{% set x = [1] %}" + strings.Repeat("{% set x = x + x %}", 99):                                                  "MiB",
		"{% set x = [1] %}" + strings.Repeat("{% set x = [x, x] %}", 99) + "{{ x }}":                                     "MiB",
		"{% set x = [1] %}" + strings.Repeat("{% set x = [x, x] %}", 99) + "{{ x | tojson }}":                            "MiB",
		"{% set x = [1] %}" + strings.Repeat("{% set x = [x, x] %}", 99) + "{{ x == x[0:] }}":                            "steps",
		"{% set x = 'a' * 1000 %}" + strings.Repeat("{% set x = x.replace('a', x[:1000]) %}", 9):                         "MiB",
		"{% set x = 'a' * 10**6 %}{% for i in range(99999) %}{% set y = 'b' in x %}{% endfor %}":                         "steps",
		"{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}":          "a value is nested",
		"{% set ns = namespace(x=[]) %}{% for i in range(9999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x | tojson }}": "a value is nested",
	} {
		short := template[:min(len(template), 90)]
		got, err := Render(template, sample)
		var e *Error
		if !errors.As(err, &e) || got != "" {
			t.Errorf("%q: got %.90q, %v", short, got, err)
		} else if !strings.Contains(err.Error(), want) || e.Hint == "" {
			t.Errorf("%q\n got %v\nwant %s", short, err, want)
		}
	}
}

func TestExtra(t *testing.T) {
	p := sample
	p.Extra = map[string]any{"a": []any{nil, true, 1, int64(2), 1.5, "s", []string{"x"}}, "messages": "hidden", "m": map[string]any{"b": 1, "a": 2}}
	got, err := Render("{{ a }}{{ m }}{{ messages | length }}{{ eos_token }}{{ add_generation_prompt }}", p)
	if want := "[None, True, 1, 2, 1.5, 's', ['x']]{'a': 2, 'b': 1}2</s>False"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	var e *Error
	p.Extra = map[string]any{"a": struct{}{}}
	if _, err := Render("", p); !errors.As(err, &e) || e.Hint == "" {
		t.Errorf("a struct: %v", err)
	}
}

// A long chat is within the bounds: they grow with it.
func TestLongChat(t *testing.T) {
	p := Params{AddGenerationPrompt: true}
	text := strings.Repeat("word ", 2000)
	for range 100 {
		p.Messages = append(p.Messages, Message{"user", text, nil}, Message{"assistant", text, nil})
	}
	for _, f := range families {
		if got, err := Render(f.template, p); err != nil || len(got) < 200*len(text) {
			t.Errorf("%s: %d bytes, %v", f.name, len(got), err)
		}
	}
}
