package judge

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// question is what a model is asked, and how it may answer.
type question struct {
	text  string    // with {prompt}, and {response} or {a} and {b}
	words [2]string // whose odds are the verdict: for the better and for the worse

	// Of verdicts in JSON, else "": the rule of the answer's field in a grammar, and its schema.
	grammar string
	schema  json.RawMessage
	value   func(field json.RawMessage) (float64, error)

	lo, hi float64 // of the values
}

const (
	one = "Below are a conversation and an answer to its last message.\n\n<conversation>\n{prompt}\n</conversation>\n\n<answer>\n{response}\n</answer>\n\n"
	two = "Below are a conversation and two answers to its last message.\n\n<conversation>\n{prompt}\n</conversation>\n\n<answer A>\n{a}\n</answer A>\n\n<answer B>\n{b}\n</answer B>\n\n"

	// In JSON, the reason comes first: a verdict that follows it can take it into account.
	asJSON = `Reply with JSON, as in {"reason": "one short sentence", "verdict": %s}`
)

// questions are those for the odds of words (false) and for JSON (true).
var questions = map[bool]struct{ rate, pair *question }{
	false: {
		rate: &question{
			text:  one + "Is the answer a good one: helpful, correct and harmless? Reply with one word, Yes or No.",
			words: [2]string{"Yes", "No"}, lo: math.Inf(-1), hi: math.Inf(1),
		},
		pair: &question{
			text:  two + "Which answer is the better one: more helpful, correct and harmless? Neither their order nor their length counts. Reply with one letter, A or B.",
			words: [2]string{"A", "B"}, lo: math.Inf(-1), hi: math.Inf(1),
		},
	},
	true: {
		rate: &question{
			text:    one + "How good is the answer, from 1 (useless, wrong or harmful) to 10 (as helpful, correct and clear as can be)? Its length does not count. " + fmt.Sprintf(asJSON, "7"),
			grammar: `"10" | [1-9]`, schema: schema(`{"type": "integer", "minimum": 1, "maximum": 10}`), value: grade, lo: 1, hi: 10,
		},
		pair: &question{
			text:    two + "Which answer is the better one: more helpful, correct and harmless? Neither their order nor their length counts. " + fmt.Sprintf(asJSON, `"A"`) + `, where the verdict is "A", "B" or "tie".`,
			grammar: `"\"A\"" | "\"B\"" | "\"tie\""`, schema: schema(`{"type": "string", "enum": ["A", "B", "tie"]}`), value: winner, lo: -1, hi: 1,
		},
	},
}

// replyTokens is the most tokens of a reply in JSON, reasonChars the most characters of the reason where a
// grammar can hold a model to it.
const (
	replyTokens = 256
	reasonChars = 300
)

// schema is the JSON schema of a reply.
func schema(verdict string) json.RawMessage {
	return json.RawMessage(`{"type": "object", "properties": {"reason": {"type": "string"}, "verdict": ` + verdict + `}, "required": ["reason", "verdict"], "additionalProperties": false}`)
}

// gbnf is the grammar of a reply.
func (q *question) gbnf() string {
	return fmt.Sprintf(`root ::= "{\"reason\": \"" char{1,%d} "\", \"verdict\": " (%s) "}"
char ::= [^"\\\x00-\x1f\x7f]`, reasonChars, q.grammar)
}

// about is the question about some answers. What they say is not looked at again.
func (q *question) about(p prompt.Record, answers ...string) string {
	return strings.NewReplacer(append(answers, "{prompt}", p.Show())...).Replace(q.text)
}

// parse reads a reply in JSON.
func (q *question) parse(said string) (float64, error) {
	var reply struct {
		Verdict json.RawMessage `json:"verdict"`
	}
	from, to := strings.IndexByte(said, '{'), strings.LastIndexByte(said, '}') // some put it into a fence
	if from < 0 || to < from || json.Unmarshal([]byte(said[from:to+1]), &reply) != nil || reply.Verdict == nil {
		return 0, fault.New("", "reward", nil, "take another model, or leave reply=json out for the odds of words", "the judge said %.200q, which is no verdict in JSON", said)
	}
	return q.value(reply.Verdict)
}

func grade(field json.RawMessage) (float64, error) {
	var v float64
	if err := json.Unmarshal(field, &v); err != nil || v < 1 || v > 10 {
		return 0, fault.New("", "reward", nil, "take another model, or leave reply=json out for the odds of words", "the judge's verdict is %.100s, and a grade from 1 to 10 was asked for", field)
	}
	return v, nil
}

func winner(field json.RawMessage) (float64, error) {
	var v string
	json.Unmarshal(field, &v)
	switch strings.ToLower(v) {
	case "a":
		return 1, nil
	case "b":
		return -1, nil
	case "tie":
		return 0, nil
	}
	return 0, fault.New("", "reward", nil, "take another model, or leave reply=json out for the odds of words", `the judge's verdict is %.100s, and "A", "B" or "tie" was asked for`, field)
}

// spells tells whether a token is a word: with spaces before it, which tokenizers write in several ways,
// and in any case where the word is more than a letter.
func spells(token, word string) bool {
	token = strings.TrimLeft(token, " \t\r\n▁Ġ")
	return token == word || len(word) > 1 && strings.EqualFold(token, word)
}

// logSumExp is log(sum(exp(x))); minus infinity of nothing.
func logSumExp(xs []float64) float64 {
	most := math.Inf(-1)
	for _, x := range xs {
		most = max(most, x)
	}
	if math.IsInf(most, -1) {
		return most
	}
	sum := 0.0
	for _, x := range xs {
		sum += math.Exp(x - most)
	}
	return most + math.Log(sum)
}
