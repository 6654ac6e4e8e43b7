package report

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/eval"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Text is a response with the value of every token.
type Text struct {
	Prompt  string  `json:"prompt"`
	Text    string  `json:"text"`
	Model   string  `json:"model"`
	Head    string  `json:"head"`    // the value function's file
	Reading string  `json:"reading"` // what a value is, in words
	Scale   Scale   `json:"scale"`
	Seed    *uint64 `json:"seed,omitempty"` // of a sampled text
	Tokens  []Token `json:"tokens"`
}

// Token is a token of a response with the value V of the state after it.
type Token struct {
	ID      int32    `json:"token"`
	Text    string   `json:"text"`
	Value   float32  `json:"value"`
	Change  *float32 `json:"change,omitempty"` // of the value by this token; nil of the first
	LogProb float32  `json:"logprob"`          // of the model at temperature 1
	// Quantiles are what a categorical head believes of the return, nil of others.
	Quantiles *eval.Quantiles `json:"quantiles,omitempty"`
}

// WriteText creates or replaces the page about a text at path.
func WriteText(path string, t *Text) error { return write(path, "text.html", t) }

// InWords says what a value that is read from a value function is.
func InWords(r valuehead.Reading) string {
	if r.Within > 0 {
		bound := r.Within
		r.Within = 0
		return fmt.Sprintf("%s, within %g deviations of the mean reward", InWords(r), bound)
	}
	switch {
	case r.Beta != 0:
		return fmt.Sprintf("soft value for beta %g", r.Beta)
	case r.Pessimistic != 0:
		return fmt.Sprintf("mean of the worst %g %% of returns", 100*r.Pessimistic)
	case r.Quantile != 0:
		return fmt.Sprintf("%g %% quantile of the return", 100*r.Quantile)
	}
	return "mean return"
}

// Shown is the token's text with its line breaks made visible.
func (t *Token) Shown() string {
	if t.Text == "" {
		return "·" // a part of a character, which the token that completes it shows
	}
	return strings.ReplaceAll(t.Text, "\n", "↵\n")
}

// Tip says what is known of the token, a fact a line.
func (t *Token) Tip() string {
	lines := []string{fmt.Sprintf("%q, token %d", t.Text, t.ID), "value " + num(float64(t.Value), 3)}
	if t.Change != nil {
		lines[1] += ", change " + signed(float64(*t.Change), 3)
	}
	lines = append(lines, "log p "+num(float64(t.LogProb), 3))
	if q := t.Quantiles; q != nil {
		lines = append(lines, fmt.Sprintf("return: 10 %% below %s, median %s, 10 %% above %s", num(float64(q.Q10), 2), num(float64(q.Q50), 2), num(float64(q.Q90), 2)))
	}
	return strings.Join(lines, "\n")
}

// signed is num with a plus sign where it belongs.
func signed(v float64, decimals int) string {
	if s := num(v, decimals); v > 0 && strings.Trim(s, "0.") != "" {
		return "+" + s
	}
	return num(v, decimals)
}

// CSS is the colour as style sheets have it.
func (c Colour) CSS() template.CSS { return template.CSS(fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B)) }

// Background is the colour of a token.
func (t *Text) Background(value float32) template.CSS { return t.Scale.Colour(float64(value)).CSS() }

// Swatch is a colour of the legend.
type Swatch struct {
	Label      string
	Background template.CSS
}

// Legend shows the scale.
func (t *Text) Legend() (out []Swatch) {
	for _, v := range t.Scale.Stops(9) {
		out = append(out, Swatch{num(v, 1), t.Scale.Colour(v).CSS()})
	}
	return out
}

// Ink is the colour of text on the scale's colours.
func (t *Text) Ink() template.CSS { return Ink.CSS() }

// course plots the value over the tokens of a response, between the quantiles where there
// are some.
func course(t *Text) *chart {
	var points []point
	for i, token := range t.Tokens {
		y := exact(float64(token.Value))
		if q := token.Quantiles; q != nil {
			y.Lo, y.Hi = float64(q.Q10), float64(q.Q90)
		}
		points = append(points, point{x: exact(float64(i + 1)), y: eval.Interval{Mean: y.Mean, Lo: min(y.Lo, y.Mean), Hi: max(y.Hi, y.Mean)}, class: guided, title: token.Tip()})
	}
	return plot("Value by token", axis{title: "token of the response"}, axis{title: "value, units of reward"}, 250, 52, 16, points, true)
}
