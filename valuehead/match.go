package valuehead

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Match says what the attention of a [Recall] head is a search for before training: it
// seldom learns to search by itself, and what it does not start with it hardly finds.
type Match string

const (
	// MatchTokens finds the tokens of the response in the prompt: best where responses copy
	// words as they stand, and worse than no attention where they do not.
	MatchTokens Match = "tokens"
	// MatchStates finds tokens of the prompt with like states too: a little worse where
	// words are copied, but it still finds them as other tokens (inflected, capitalised,
	// split in another way) or in other words.
	MatchStates Match = "states"
)

func (m Match) validate() error {
	if m != "" && m != MatchTokens && m != MatchStates {
		return fmt.Errorf("valuehead: unknown match %q (choose %s or %s)", m, MatchTokens, MatchStates)
	}
	return nil
}

// likeScore is what two equal states score at the start, on average: between one token that
// matches and two, and well above the 5 of finding nothing.
const likeScore = 10

// searchStates makes like states attract each other: response and prompt are projected by
// the same weights, and the query is the key, so that the score of two states is about
// likeScore times the cosine between them. All else in projection, key and query is muted,
// for it differs between the two.
func (m *recallNet) searchStates(p [][]float32, rng *rand.Rand) {
	const muted = 0.3
	width, project := m.width, m.shape.Project
	scale(p[m.project], muted)
	for i := range project {
		row, prompt := p[m.project][i*width:(i+1)*width], p[tPrompt][i*m.promptRow:(i+1)*m.promptRow]
		for j, at := range m.like {
			row[at] = prompt[j]
		}
	}
	scale(p[tKey], muted)
	scale(p[tQuery], muted)
	// A projected row has about unit columns, so with weights of deviation d the product of
	// a query and an equal key is keys project d^2 on average.
	deviation := math.Sqrt(likeScore / (float64(m.temper()) * float64(m.shape.Keys*project)))
	for i := range m.shape.Keys {
		key, query := p[tKey][i*m.found:][:project], p[tQuery][i*m.in:][:project]
		normal(key, rng, deviation)
		copy(query, key)
	}
}
