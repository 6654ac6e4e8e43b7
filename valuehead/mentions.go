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
	w, mean := f.promptWidth, f.promptMean(p)
	all := f.appendPrompt(nil, p)
	m := &mentions{at: map[int32]int{}}
	for i, token := range slices.Backward(p.Tokens) {
		if _, later := m.at[token]; later {
			continue
		}
		m.at[token] = len(m.at)
		for j, v := range all[i*w:][:w] {
			m.rows = append(m.rows, v-mean[j])
		}
	}
	return m
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
