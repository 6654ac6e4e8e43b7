package world

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// Instruct is the task of saying a line of words under constraints: how many, which one first and
// last, which ones among them and which not. Careless writers begin as they always do, stop early and say
// what they were told not to.
type Instruct struct{}

// Name is "instruct".
func (Instruct) Name() string { return "instruct" }

// Frames: W stands for a word, N for a number.
var (
	countFrames = []string{"say N words.", "N words.", "keep to N words."}
	openFrames  = []string{"open with W.", "W is first.", "go from W on."}
	endFrames   = []string{"end with W.", "W is last.", "W at the end."}
	useFrames   = []string{"add W.", "say W.", "keep W in."}
	avoidFrames = []string{"not W.", "no W.", "keep W out."}

	freeWords = words("so well now nice day rain work life else much story year") // that no constraint is about
	obedience = []float64{0.15, 0.4, 0.96}                                        // with which bad, medium and good writers meet a constraint
)

const (
	careless = "so" // how careless writers begin
	early    = 4    // words after which they stop
)

// Document draws constraints and two lines.
func (Instruct) Document(r *rand.Rand, split Split) Document {
	g, text := newConstraints(r, split)
	return twice(r, asked+" "+text+"\n"+answered, g, func() string { return line(r, g, draw(r, qualityShare)) },
		func(answer string) float64 { return g.Judge(answer).Reward })
}

func newConstraints(r *rand.Rand, split Split) (g reward.InstructGold, text string) {
	g = reward.InstructGold{Task: "instruct", Words: early + 1 + r.IntN(4)}
	named := slices.Concat(attributes, objects)
	r.Shuffle(len(named), func(i, j int) { named[i], named[j] = named[j], named[i] })
	sentences := []string{strings.ReplaceAll(frame(r, countFrames, split), "N", fmt.Sprint(g.Words))}
	demand := func(frames []string) string {
		word := named[0]
		named = named[1:]
		sentences = append(sentences, strings.ReplaceAll(frame(r, frames, split), "W", word))
		return word
	}
	g.Open = demand(openFrames)
	if r.IntN(3) > 0 {
		g.End = demand(endFrames)
	}
	for range 1 + r.IntN(2) {
		g.Use = append(g.Use, demand(useFrames))
	}
	for range 1 + r.IntN(2) {
		g.Avoid = append(g.Avoid, demand(avoidFrames))
	}
	r.Shuffle(len(sentences), func(i, j int) { sentences[i], sentences[j] = sentences[j], sentences[i] })
	return g, strings.Join(sentences, " ")
}

// line writes a line of the given quality.
func line(r *rand.Rand, g reward.InstructGold, quality int) string {
	obeys := func() bool { return r.Float64() < obedience[quality] }
	n := g.Words
	if !obeys() {
		n = early + draw(r, []float64{6, 2, 1, 1})
	}
	said := make([]string, n)
	said[0] = careless
	if obeys() {
		said[0] = g.Open
	}
	if g.End != "" && obeys() {
		said[n-1] = g.End
	}
	var among []string
	for _, word := range g.Use {
		if obeys() {
			among = append(among, word)
		}
	}
	for _, word := range g.Avoid {
		if !obeys() {
			among = append(among, word)
		}
	}
	inner := r.Perm(max(n-2, 0))
	for i, word := range among[:min(len(among), len(inner))] {
		said[1+inner[i]] = word
	}
	free := r.Perm(len(freeWords))
	for i, word := range said {
		if word == "" {
			said[i] = freeWords[free[i]]
		}
	}
	return strings.Join(said, " ")
}
