package world

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// Dialogue is the task of answering at the end of a conversation: somebody has named things for a
// list, changed their mind, and talked of other people's things, and now asks what is on it. Careless
// answers tell what was named first, and are rude.
type Dialogue struct{}

// Name is "dialogue".
func (Dialogue) Name() string { return "dialogue" }

// Frames: O stands for the attribute and object, A and B for one of them each.
var (
	addFrames    = []string{"add a O.", "my list: a O.", "i hope to see a O."}
	othersFrames = []string{"my WHO got a O.", "my WHO lost a O.", "my WHO sold a O."}
	dropFrames   = []string{"not the B now.", "no B.", "keep the B out."}
	changeFrames = []string{"the B is A now.", "i painted the B A.", "now the B is A."}

	replies   = []string{"yes.", "i see.", "what else?", "thanks."}
	questions = []string{"what is on my list?", "so what is on it?", "say what is on it now."}

	listOpenings  = []string{"well", "so", "anyway", "in short", "yes", "the list"}
	kindPhrases   = []string{"what else?", "i hope you are well"}
	plainPhrases  = []string{"that is all", "thanks"}
	rudePhrases   = []string{"i feel tired now", "what a strange list"}
	mannersShares = [][]float64{{15, 45, 40}, {30, 50, 20}, {75, 22, 3}} // kind, plain and rude ones of bad, medium and good writers
)

// conversation is its hidden side: what was said, in order, and what of it is on the list.
type conversation struct {
	said  []thing
	turns []string // what the person says, the question last
	gold  reward.DialogueGold
}

func newConversation(r *rand.Rand, split Split) conversation {
	var c conversation
	listed := 3 + r.IntN(2)
	pairs := pairs(r, listed+3, split)
	var events []string
	event := func(at int, f string, t thing) {
		text := strings.NewReplacer("WHO", pick(r, persons), "O", t.text(), "A", attributes[t.attribute], "B", objects[t.object]).Replace(f)
		events = slices.Insert(events, at, text)
	}
	// What happens to things: they stay on the list, are somebody else's, are taken back, or changed.
	const stays, others, dropped, changed = 0, 1, 2, 3
	fates := make([]int, len(pairs))
	order := r.Perm(len(pairs))
	for _, i := range order {
		frames := addFrames
		if i >= listed {
			if fates[i] = others + r.IntN(3); fates[i] == others {
				frames = othersFrames
			}
		}
		pairs[i].right = fates[i] == stays
		event(len(events), frame(r, frames, split), pairs[i])
		c.said = append(c.said, pairs[i])
	}
	for k := len(order) - 1; k >= 0; k-- { // from the last to the first: the k-th event then still stands at k
		t, after := pairs[order[k]], k+1+r.IntN(len(events)-k)
		switch fates[order[k]] {
		case dropped:
			event(after, frame(r, dropFrames, split), t)
		case changed:
			t.attribute, t.right = c.unused(r, t.object, split), true
			event(after, frame(r, changeFrames, split), t)
			c.said = append(c.said, t)
		}
	}
	if r.IntN(2) == 0 {
		event(r.IntN(len(events)+1), pick(r, fillers), thing{})
	}
	for len(events) > 0 {
		n := min(2+r.IntN(3), len(events))
		c.turns = append(c.turns, strings.Join(events[:n], " "))
		events = events[n:]
	}
	c.turns = append(c.turns, frame(r, questions, split))
	c.gold = reward.DialogueGold{Task: "dialogue"}
	for _, t := range c.said {
		if t.right {
			c.gold.List = append(c.gold.List, t.text())
		} else {
			c.gold.Off = append(c.gold.Off, t.text())
		}
	}
	return c
}

// unused draws an attribute for an object that nothing has yet.
func (c conversation) unused(r *rand.Rand, object int, split Split) int {
	for {
		a := r.IntN(len(attributes))
		taken := slices.ContainsFunc(c.said, func(t thing) bool { return t.attribute == a })
		if !taken && (split.heldOut() || !heldOut(a, object)) {
			return a
		}
	}
}

// Document draws a conversation and two answers to its question.
func (Dialogue) Document(r *rand.Rand, split Split) Document {
	c := newConversation(r, split)
	var b strings.Builder
	for i, turn := range c.turns {
		if i > 0 {
			b.WriteString(answered + " " + pick(r, replies) + "\n")
		}
		b.WriteString(asked + " " + turn + "\n")
	}
	b.WriteString(answered)
	return twice(r, b.String(), c.gold, func() string { return c.answer(r, draw(r, qualityShare), split) },
		func(answer string) float64 { return c.gold.Judge(answer).Reward })
}

// answer writes an answer of the given quality.
func (c conversation) answer(r *rand.Rand, quality int, split Split) string {
	s := styles[quality]
	n := 1 + draw(r, s.lengths)
	if quality == len(styles)-1 {
		n = len(c.gold.List)
	}
	manners := pick(r, [][]string{kindPhrases, plainPhrases, rudePhrases}[draw(r, mannersShares[quality])])
	return listOpenings[draw(r, s.openings)] + ":" + s.say(r, c.said, n, split) + ", " + manners
}
