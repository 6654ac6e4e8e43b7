package llama_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ivo-decoding/ivo/llama"
)

// numbered is n rules, each made from its number.
func numbered(n int, rule func(i int) string) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(rule(i))
	}
	return b.String()
}

// Every mistake is found at its place, and the error says what to do.
func TestGBNFErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "there is no rule root"},
		{"comments only", "# nothing\n", "there is no rule root"},
		{"no root", `a ::= "x"`, "there is no rule root (begin with root ::= ...)"},
		{"undefined", "root ::= \"x\" |\n  yes no\nyes ::= \"y\"", "2:7: there is no rule no"},
		{"twice", "root ::= a\na ::= \"x\"\na ::= \"y\"", "3:1: rule a is already defined on line 2"},
		{"no name", "::= \"x\"", "1:1: expected the name of a rule, found ':'"},
		{"underscore in a name", "my_rule ::= \"x\"", "1:3: expected ::= after the name my, found '_'"},
		{"underscore in a reference", "root ::= my_rule\nmy ::= \"x\"", "1:12: expected the end of the rule, found '_' (names are made of letters, digits and -)"},
		{"no ::=", "root = \"x\"", "1:6: expected ::= after the name root, found '='"},
		{"nothing after the name", "root", "1:5: expected ::= after the name root, found the end of the grammar"},
		{"no body", "root ::=\na ::= \"x\"", "2:1: rule a begins before rule root has ended"},
		{"| on the next line", "root ::= \"x\"\n  | \"y\"", "2:3: expected the name of a rule, found '|' (an alternative on a line of its own"},
		{"junk", "root ::= \"x\" ; \"y\"", "1:14: expected the end of the rule, found ';'"},
		{"single quotes", "root ::= 'x'", `1:10: expected the end of the rule, found '\''`},
		{"( without )", "root ::= (\"x\"\n  \"y\"", "2:6: expected the ) of the group that begins on line 1, found the end of the grammar"},
		{") without (", "root ::= \"x\")", "1:13: expected the end of the rule, found ')' (no parenthesis is open)"},
		{"no closing quote", "root ::= \"x\na ::= b", `1:10: the text that begins here has no closing "`},
		{"no closing bracket", "root ::= [a-z\n", "1:10: the class of characters that begins here has no closing ]"},
		{"no closing bracket after -", "root ::= [a-", "1:10: the class of characters that begins here has no closing ]"},
		{"empty class", "root ::= []", "1:10: an empty class of characters"},
		{"empty negated class", "root ::= \"水\" [^]", "1:14: an empty class of characters"},
		{"backwards range", "root ::= [0-9z-a]", "1:14: the range goes backwards"},
		{"unknown escape", `root ::= "\d"`, "1:11: unknown escape"},
		{"escape at the end", `root ::= "\`, "1:11: unknown escape"},
		{"short escape", `root ::= "\x4"`, "1:11: expected 2 hexadecimal digits"},
		{"short escape at the end", `root ::= [\u12`, "1:11: expected 4 hexadecimal digits"},
		{"signed escape", `root ::= "\x+4"`, "1:11: expected 2 hexadecimal digits"},
		{"beyond Unicode", `root ::= "\U00110000"`, "1:11: there is no character U+110000"},
		{"nothing to repeat", "root ::= *", "1:10: expected something to repeat before '*'"},
		{"nothing to repeat after |", "root ::= \"x\" | +", "1:16: expected something to repeat before '+'"},
		{"an empty text repeated", `root ::= ""?`, "1:12: expected something to repeat before '?'"},
		{"none, repeated", `root ::= "x"{0}{2}`, "1:16: expected something to repeat before '{'"},
		{"no number", `root ::= "x"{,3}`, "1:14: expected a number of repetitions, found ','"},
		{"no comma", `root ::= "x"{1 3}`, "1:16: expected }, found '3'"},
		{"no brace", `root ::= "x"{1,3`, "1:17: expected }, found the end of the grammar"},
		{"negative", `root ::= "x"{-1}`, "1:14: expected a number of repetitions, found '-'"},
		{"more at least than at most", `root ::= "x"{3,1}`, "1:13: at least 3 and at most 1 repetitions"},
		{"too often", `root ::= "x"{2000}`, "1:13: 2000 repetitions are too many"},
		{"much too often", `root ::= "x"{1,99999999999999999999}`, "1:16: 99999999999999999999 is too large"},
		{"too often, nested", `root ::= (("x"{100}){5,100}){0,30}`, "1:29: 2910 repetitions are too many"},
		{"too often in turn", `root ::= "x"{50}{50}`, "1:17: 2500 repetitions are too many"},
		{"too large", "root ::= " + strings.Repeat(`"`+strings.Repeat("x", 1000)+`"{1999} `, 2), "the grammar is too large"},
		{"too much text", strings.Repeat("#", 1<<20+1), "1048577 bytes; 1048576 are allowed"},
		{"too deep", "root ::= " + strings.Repeat("(", 200) + `"x"` + strings.Repeat(")", 200), "1:138: more than 128 parentheses in each other"},
		{"a token without >", "root ::= <think", "1:10: the token that begins here has no closing >"},
		{"a token over two lines", "root ::= <thi\nnk>", "1:10: the token that begins here has no closing >"},
		{"no token after !", "root ::= !\"x\"", "1:11: expected <, found '\"'"},
		{"a token's id", "root ::= <[x]>", "1:12: expected the id of a token, found 'x'"},
		{"a token's id without end", "root ::= <[12>", "1:14: expected ]>, found '>'"},
		{"a token's id out of range", "root ::= <[2147483648]>", "1:12: 2147483648 is too large"},
		{"zero byte", "root ::= \"\x00\"", "1:11: a zero byte"},
		{"not UTF-8", "root ::= \"水\xff\"", "1:12: not valid UTF-8"},

		// What llama.cpp overflows its stack on, hangs in, or runs out of memory.
		{"left recursion", "root ::= root \"x\" | \"y\"", "1:1: rule root can begin with itself"},
		{"left recursion by way of others", "root ::= a\na ::= \"x\" | b \"y\"\nb ::= c | \"z\"\nc ::= (a \"w\")", "2:1: rule a can begin with itself, by way of b, c"},
		{"left recursion after what may be empty", "root ::= a\na ::= sp a \"x\" | \"y\"\nsp ::= tab? lf*\ntab ::= \"\\t\"\nlf ::= \"\\n\"", "2:1: rule a can begin with itself"},
		{"left recursion out of reach", "root ::= \"x\"\na ::= a", "2:1: rule a can begin with itself"},
		{"a repetition of a repetition", `root ::= ("a"*)*`, "1:16: what is repeated here may be empty"},
		{"a repetition of a repetition, bare", `root ::= "a"**`, "1:14: what is repeated here may be empty"},
		{"a repetition of what is optional", `root ::= ("a"? "b"?)+`, "1:21: what is repeated here may be empty"},
		{"a repetition of nothing", "root ::= (\"\")*", "1:14: what is repeated here may be empty"},
		{"a repetition of nothing by way of rules", "root ::= x*\nx ::= y\ny ::= \"\"", "1:11: what is repeated here may be empty"},
		{"exponential expansion", "root ::= r0\n" + numbered(40, func(i int) string { return fmt.Sprintf("r%d ::= r%d | r%[2]d\n", i, i+1) }) + `r40 ::= "x"`, "rule r27 takes too many steps to expand"},
		{"exponentially empty", "root ::= " + strings.Repeat("x ", 40) + "\nx ::= (\"a\"?)?", "1:1: rule root takes too many steps to expand"},
		{"exponentially empty, repeated", `root ::= (("a"?){0,40}){0,40}`, "rule root takes too many steps to expand"},
		{"empty in several ways in itself", "root ::= \"a\" root (\"b\"?)? | \"c\"", "1:1: rule root stands in itself before something that can be empty in more than one way"},
		{"too much empty in itself", "root ::= \"a\" root " + strings.Repeat(`"b"? `, 40) + "| \"c\"", "1:1: rule root stands in itself before too much that may be empty"},
		{"a long chain", "root ::= r0\n" + numbered(20000, func(i int) string { return fmt.Sprintf("r%d ::= r%d\n", i, i+1) }) + `r20000 ::= "x"`, "takes too many steps to expand"},
		{"too many optional parts", "root ::= " + strings.Repeat(`"a"? `, 2000), "1:1: rule root takes too many steps to expand"},
		{"too many alternatives", "root ::= \"x\"" + strings.Repeat(` | "x"`, 20000), "1:1: rule root takes too many steps to expand"},
	} {
		err := llama.CheckGrammar(c.text, "")
		if err == nil {
			t.Errorf("%s: no error, want %q", c.name, c.want)
			continue
		}
		var e *llama.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, want %q", c.name, err, c.want)
		}
	}
}

// What people write is accepted: the whole language, in the ways it may be laid out.
func TestGBNFAccepts(t *testing.T) {
	files, err := filepath.Glob("testdata/grammar/*.gbnf")
	if err != nil || len(files) == 0 {
		t.Fatal("no grammars in testdata", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if err := llama.CheckGrammar(string(text), ""); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
	for _, text := range []string{
		"root ::= \"x\"",
		"\r\n\t# a comment\r\nroot::=\"x\"# and another\r\n\r\n",
		"root ::=\n\t\"x\" |\n\t# between\n\t\"y\"\n",
		"root ::= (\n \"x\"\n | \"y\"\n) \"z\"",
		"root ::= ",
		"root ::= | \"x\"",
		"root ::= 1 | -2-\n1 ::= \"x\"\n-2- ::= \"y\"",
		`root ::= "\n\r\t\\\"\[\]\x41\u6c34\U0001F642"`,
		`root ::= [\n\r\t\\\"\[\]\x41\u6c34\U0001F642] [^a-z-] [-a] [A-\]] [水-氷]`,
		"root ::= \"over\ntwo lines\"",
		`root ::= "x"{3} "y"{1,} "z"{0,2} . { 1 , 2 } "w" ? "v" * "u" +`,
		`root ::= "x"{0} "y"{0,0} ("z"?)?`,
		`root ::= "x"{1999}`,
		"root ::= <think> !<end> <[7]> !<[8]>",
		"root ::= \"(\" root? \")\"",
		"root ::= \"a\" root \"b\"? | \"c\"",
		"root ::= item (\",\" root)? ws\nitem ::= [a-z]+\nws ::= [ \\n]*",
		"root ::= \"\"" + numbered(1000, func(i int) string { return fmt.Sprintf(" | \"name %d\"", i) }),
		"root ::= " + numbered(100, func(i int) string { return fmt.Sprintf("(\"key%d\" \":\" [0-9]+ \",\")? ", i) }),
	} {
		if err := llama.CheckGrammar(text, ""); err != nil {
			t.Errorf("%.60q: %v", text, err)
		}
	}
	if err := llama.CheckGrammar("a ::= \"x\"", "a"); err != nil {
		t.Errorf("another root: %v", err)
	}
	if err := llama.CheckGrammar("root ::= \"x\"", "a"); err == nil {
		t.Error("a root that is not there")
	}
}
