package valuehead

import (
	"slices"

	"github.com/ivo-decoding/ivo/valuehead/states"
)

// mentions are a prompt's states where each of its tokens stands last, less the mean of all.
type mentions struct {
	at   map[int32]int // of a token, its row
	rows []float32     // [different tokens][promptWidth]
}

func (f *Features) mentionsOf(p *states.Prompt) *mentions {
	return newMentions(p.Tokens, f.appendPrompt(nil, p), f.promptWidth)
}

// newMentions are those of tokens with the states after each, [len(tokens)][width].
func newMentions(tokens []int32, rows []float32, width int) *mentions {
	mean := meanOf(rows, width)
	m := &mentions{at: map[int32]int{}}
	for i, token := range slices.Backward(tokens) {
		if _, later := m.at[token]; later {
			continue
		}
		m.at[token] = len(m.at)
		for j, v := range rows[i*width:][:width] {
			m.rows = append(m.rows, v-mean[j])
		}
	}
	return m
}

// SumOfMentions is what a prompt says of the tokens of an answer: the sum over those that both have, each once, of the
// prompt's state where it stands last less the mean of the prompt's states, [width of the prompt's states].
func SumOfMentions(p *states.Prompt, answer []int32) []float32 {
	width := len(p.Hidden) / len(p.Tokens)
	m, sum := newMentions(p.Tokens, p.Hidden, width), make([]float32, width)
	for i, token := range answer {
		row, there := m.at[token]
		if !there || slices.Contains(answer[:i], token) {
			continue
		}
		for j, v := range m.rows[row*width:][:width] {
			sum[j] += v
		}
	}
	return sum
}

// look makes known what the features read of the prompt.
func (a *Accumulator) look(p *states.Prompt) {
	a.prompt, a.mentions = a.f.promptColumns(p), nil
	if a.f.on[Mentions] {
		a.mentions = a.f.mentionsOf(p)
	}
}

// mention adds what the prompt says of the token that was pushed, the first time that it is said.
func (a *Accumulator) mention(token int32) {
	if a.mentions == nil || slices.Contains(a.said, token) {
		return
	}
	row, ok := a.mentions.at[token]
	if !ok {
		return
	}
	a.said = append(a.said, token)
	for i, v := range a.mentions.rows[row*len(a.told):][:len(a.told)] {
		a.told[i] += v
	}
}
