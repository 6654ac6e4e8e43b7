package world

import (
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

const (
	numFacts       = 4 // about the writer: what a summary should say
	numDistractors = 3 // about somebody else, another time or a dream

	heldOutFrames = 0.25 // share of the sentences of Test posts with a held-out frame
)

// families are the kinds of fact: verbs that mean the same. Posts use any of them,
// summaries the first two.
var families = [][]string{
	words("got bought purchased"),
	words("lost misplaced"),
	words("broke smashed cracked"),
	words("found spotted discovered"),
	words("sold auctioned"),
	words("fixed repaired mended"),
	words("painted decorated"),
	words("gave donated"),
	words("hid stashed buried"),
	words("washed cleaned scrubbed"),
}

var (
	objects = words("lamp chair bike coat clock guitar camera kettle mirror ring drum kite vase phone " +
		"basket hat piano table tent bell map radio scarf book sofa candle ladder bucket helmet wallet")
	attributes = words("red blue green tiny huge shiny wooden cheap dusty heavy yellow round silver " +
		"black white purple rusty striped plastic fancy golden leather vintage crooked")

	times   = []string{"yesterday", "last week", "this morning", "on monday", "on friday", "last night"}
	places  = []string{"at the market", "near the station", "in the garden", "at work", "by the river"}
	persons = words("cousin brother sister neighbor boss friend uncle teacher")

	fillers = []string{
		"the weather was nice.", "it was a long day.", "not much else to say.", "thanks for reading.",
		"i hope you are well.", "there was rain all day.", "i feel tired now.", "what a strange week.",
		"we had soup for dinner.", "the train was late.", "that is all.", "life goes on.",
	}
)

// Sentence frames: V stands for the verb, O for the attribute and object. The last
// of each list is held out of training.
var (
	factFrames = []string{
		"WHEN i V a O.",
		"i V a O WHEN.",
		"i V a O WHERE.",
		"WHERE i V a O.",
		"WHEN, WHERE, i V a O.",
	}
	distractorFrames = []string{
		"my WHO V a O WHEN.",
		"WHEN my WHO V a O.",
		"years ago i V a O.",
		"i V a O years ago.",
		"i dreamed that i V a O.",
		"i almost V a O WHERE.",
		"WHERE my WHO almost V a O.",
	}
)

// heldOut tells whether a pair of attribute and object is kept out of all training
// text; one in five is.
func heldOut(attribute, object int) bool { return (attribute+2*object)%5 == 0 }

// item is one fact or distractor: indices into families, attributes and objects.
type item struct {
	family, attribute, object int
	fact                      bool
}

// post is the hidden side of a post: its items in the order of the text. No two share
// a family, an attribute or an object.
type post struct {
	items []item
	split Split
}

func newPost(r *rand.Rand, split Split) post {
	p := post{items: make([]item, numFacts+numDistractors), split: split}
	for {
		f, a, o, rank := r.Perm(len(families)), r.Perm(len(attributes)), r.Perm(len(objects)), r.Perm(len(p.items))
		held := 0
		for i := range p.items {
			p.items[i] = item{f[i], a[i], o[i], rank[i] < numFacts}
			if heldOut(a[i], o[i]) {
				held++
			}
		}
		// Rejection leaves all allowed pairs equally likely. One pair in five of a Test
		// post is held out.
		if split == Test || held == 0 {
			return p
		}
	}
}

// sentences writes the post: one sentence an item, with filler between.
func (p post) sentences(r *rand.Rand) []string {
	var sentences []string
	for _, it := range p.items {
		frames := distractorFrames
		if it.fact {
			frames = factFrames
		}
		frame := pick(r, frames[:len(frames)-1])
		if p.split == Test && r.Float64() < heldOutFrames {
			frame = frames[len(frames)-1]
		}
		sentences = append(sentences, strings.NewReplacer(
			"WHEN", pick(r, times), "WHERE", pick(r, places), "WHO", pick(r, persons),
			"V", pick(r, families[it.family]), "O", attributes[it.attribute]+" "+objects[it.object],
		).Replace(frame))
	}
	first := r.IntN(len(fillers))
	for i := range 1 + r.IntN(3) {
		at := r.IntN(len(sentences) + 1)
		sentences = slices.Insert(sentences, at, fillers[(first+i)%len(fillers)])
	}
	return sentences
}

// gold is what the rule needs to judge summaries of the post.
func (p post) gold() reward.SummaryGold {
	g := reward.SummaryGold{Task: "summarize"}
	for _, it := range p.items {
		wording := strings.Join(families[it.family], "|") + " " + attributes[it.attribute] + " " + objects[it.object]
		if it.fact {
			g.Facts = append(g.Facts, wording)
		} else {
			g.Distractors = append(g.Distractors, wording)
		}
	}
	return g
}
