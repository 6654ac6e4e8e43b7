package world

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// Summarize is the task of summing up a post: a line that starts with an opening
// phrase and lists what the writer did. Most writers of summaries are careless, and
// careless ones begin alike, so the likeliest summary is a poor one, but how it
// begins and how it goes on tell how it will end.
type Summarize struct{}

// Name is "summarize".
func (Summarize) Name() string { return "summarize" }

const cue = "TL;DR:"

// Document draws a post and a summary of it. In the rest a second summary follows and
// two sentences of the post are quoted; each summary is graded one time in three.
func (Summarize) Document(r *rand.Rand, split Split) Document {
	p := newPost(r, split)
	sentences := p.sentences(r)
	doc := Document{
		Prompt:   strings.Join(sentences, " ") + "\n" + cue,
		Response: p.summary(r, draw(r, qualityShare)),
		Gold:     p.gold(),
	}
	second := p.summary(r, draw(r, qualityShare))
	doc.Rest = p.grade(r, doc.Response) +
		"QUOTE: " + pick(r, sentences) + "\n" +
		cue + " " + second + "\n" + p.grade(r, second) +
		"QUOTE: " + pick(r, sentences) + "\n"
	return doc
}

// grade is, one time in three, a line that says which clauses of a summary are right
// and how good it is, from 1 to 5.
func (p post) grade(r *rand.Rand, summary string) string {
	if r.IntN(3) > 0 {
		return ""
	}
	v := p.gold().Judge(summary)
	marks := make([]string, len(v.Clauses))
	for i, c := range v.Clauses {
		marks[i] = "no"
		if c == reward.Covers {
			marks[i] = "yes"
		}
	}
	rating := 1
	for _, threshold := range []float64{-1, 0.25, 1.5, 2.75} {
		if v.Reward > threshold {
			rating++
		}
	}
	return fmt.Sprintf("CHECK: %s RATING: %d\n", strings.Join(marks, " "), rating)
}

// style is how summaries of one quality are written.
type style struct {
	openings []float64 // weight of each opening
	lengths  []float64 // weight of each number of clauses, from one on

	// Weights of what the next clause does: tell a fact, any one; skim the post, that
	// is tell the first thing in it not told yet, be it the writer's or not; garble an
	// item with the attribute or object of another; repeat what was told.
	tell, skim, garble, repeat float64
}

var openings = []string{"so basically", "long story short", "anyway", "in short", "to sum up", "the facts"}

// qualityShare and styles go from bad over medium to good.
var (
	qualityShare = []float64{0.5, 0.3, 0.2}

	styles = []style{
		{openings: []float64{50, 25, 15, 6, 3, 1}, lengths: []float64{0, 30, 40, 20, 10},
			tell: 0, skim: 75, garble: 15, repeat: 10},
		{openings: []float64{20, 30, 25, 15, 7, 3}, lengths: []float64{0, 5, 35, 45, 15},
			tell: 20, skim: 60, garble: 13, repeat: 7},
		{openings: []float64{4, 6, 10, 25, 30, 25}, lengths: []float64{0, 0, 5, 90, 5},
			tell: 95, skim: 3, garble: 1, repeat: 1},
	}
)

// skimRatio is how much likelier a skimming writer is to tell an item than the next one.
const skimRatio = 2

// connectives lead from one clause to the next; wrong clauses like others than right ones.
var (
	connectives  = []string{"also", "and", "then", "plus"}
	rightWeights = []float64{25, 45, 25, 5}
	wrongWeights = []float64{50, 15, 5, 30}
)

func connectiveWeights(right bool) []float64 {
	if right {
		return rightWeights
	}
	return wrongWeights
}

// clause is one way to go on: what it says, about which item of the post, whether it
// is a fact told for the first time, and how likely it is.
type clause struct {
	words  [3]string // verb, attribute, object
	item   int
	right  bool
	weight float64
}

// clauses lists all clauses that can follow when the marked items have been told,
// with their weights. It is empty when nothing can.
func (p post) clauses(s style, told []bool) []clause {
	var out []clause
	// add appends the wordings of one thing to say about items[i], told as it.
	add := func(i int, it item, right bool, weight float64) {
		verbs := families[it.family][:2]
		for _, verb := range verbs {
			c := clause{[3]string{verb, attributes[it.attribute], objects[it.object]}, i, right, weight / float64(len(verbs))}
			out = append(out, c)
		}
	}
	facts, items := 0, 0
	for i, it := range p.items {
		if !told[i] {
			items++
			if it.fact {
				facts++
			}
		}
	}
	rank := 0
	for i, it := range p.items {
		if told[i] {
			add(i, it, false, s.repeat/float64(len(p.items)-items))
			continue
		}
		skim := s.skim * math.Pow(skimRatio, float64(-rank)) / (2 - math.Pow(skimRatio, float64(1-items)))
		rank++
		if it.fact {
			add(i, it, true, skim+s.tell/float64(facts))
		} else {
			add(i, it, false, skim)
		}
		mixed := p.garbled(it)
		for _, m := range mixed {
			add(i, m, false, s.garble/float64(items*len(mixed)))
		}
	}
	return out
}

// garbled lists an item's mix-ups with the attributes and objects of the others.
func (p post) garbled(it item) []item {
	var out []item
	for _, other := range p.items {
		if other == it {
			continue
		}
		mix := it
		mix.attribute = other.attribute
		out = append(out, mix)
		mix = it
		mix.object = other.object
		out = append(out, mix)
	}
	if p.split != Test {
		out = slices.DeleteFunc(out, func(m item) bool { return heldOut(m.attribute, m.object) })
	}
	return out
}

func weights(clauses []clause) []float64 {
	out := make([]float64, len(clauses))
	for i, c := range clauses {
		out[i] = c.weight
	}
	return out
}

// summary writes a summary of the given quality.
func (p post) summary(r *rand.Rand, quality int) string {
	s := styles[quality]
	var b strings.Builder
	b.WriteString(openings[draw(r, s.openings)] + ":")
	told := make([]bool, len(p.items))
	for n := range 1 + draw(r, s.lengths) {
		c := p.next(r, s, told)
		b.WriteString(c.joined(r, n))
	}
	return b.String()
}

// next draws what to say next, and marks it told.
func (p post) next(r *rand.Rand, s style, told []bool) clause {
	options := p.clauses(s, told)
	c := options[draw(r, weights(options))]
	told[c.item] = true
	return c
}

// joined is the clause as the n-th of a summary, counted from 0.
func (c clause) joined(r *rand.Rand, n int) string {
	text := " " + strings.Join(c.words[:], " ")
	if n > 0 {
		return ", " + connectives[draw(r, connectiveWeights(c.right))] + text
	}
	return text
}
