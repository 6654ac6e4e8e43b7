package world

import (
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
)

// Echoes is an endless stream of documents that say a few words of the world and then
// the same words again. What is repeated is pure chance, so only a model that looks
// back at its text can predict it: mixed into the training text, echoes teach a small
// model to copy several times sooner than posts and summaries alone. They must be
// short: among many words a model that cannot copy yet does not find what to look at.
func Echoes(seed uint64) iter.Seq[Document] {
	vocabulary := slices.Concat(slices.Concat(families...), attributes, objects, persons)
	return func(yield func(Document) bool) {
		r := rand.New(rand.NewPCG(seed, 0))
		for {
			said := make([]string, 2+r.IntN(9))
			for i := range said {
				said[i] = pick(r, vocabulary)
			}
			text := strings.Join(said, " ")
			if !yield(Document{Prompt: text + "\n", Response: text}) {
				return
			}
		}
	}
}
