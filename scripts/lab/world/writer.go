package world

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

const (
	asked    = "U:" // before what a person says
	answered = "A:" // before an answer
)

// thing is something that an answer may say of the prompt: an attribute and an object, and what
// else is said of them.
type thing struct {
	attribute, object int
	tail              string // " in the garden", or empty
	right             bool   // whether the gold rule rewards it
}

func (t thing) text() string { return attributes[t.attribute] + " " + objects[t.object] + t.tail }

// garbled are mix-ups of a thing with others.
func garbled(t thing, things []thing, split Split) (out []thing) {
	for _, other := range things {
		for _, mix := range []thing{
			{other.attribute, t.object, t.tail, false}, {t.attribute, other.object, t.tail, false}, {t.attribute, t.object, other.tail, false},
		} {
			same := slices.ContainsFunc(things, func(t thing) bool { return t.text() == mix.text() })
			if !same && (split.heldOut() || !heldOut(mix.attribute, mix.object)) {
				out = append(out, mix)
			}
		}
	}
	return out
}

// say says n things, as a writer of the style does, and clauses joined as those of summaries are.
func (s style) say(r *rand.Rand, things []thing, n int, split Split) string {
	var b strings.Builder
	told := make([]bool, len(things))
	for k := range n {
		i, t := s.next(r, things, told, split)
		if k > 0 {
			b.WriteString(", " + connectives[draw(r, connectiveWeights(t.right && !told[i]))])
		}
		told[i] = true
		b.WriteString(" " + t.text())
	}
	return b.String()
}

// next chooses what to say, and which thing it is about.
func (s style) next(r *rand.Rand, things []thing, told []bool, split Split) (int, thing) {
	var left, right, said []int
	for i, t := range things {
		switch {
		case told[i]:
			said = append(said, i)
			continue
		case t.right:
			right = append(right, i)
		}
		left = append(left, i)
	}
	ways := []float64{s.tell, s.skim, s.garble, s.repeat}
	if len(right) == 0 {
		ways[0] = 0
	}
	if len(left) == 0 {
		ways[1], ways[2] = 0, 0
	}
	if len(said) == 0 {
		ways[3] = 0
	}
	var i int
	switch draw(r, ways) {
	case 0:
		i = pick(r, right)
	case 1:
		ranks := make([]float64, len(left))
		for k := range ranks {
			ranks[k] = math.Pow(skimRatio, -float64(k))
		}
		i = left[draw(r, ranks)]
	case 2:
		i = pick(r, left)
		if mixed := garbled(things[i], things, split); len(mixed) > 0 {
			return i, pick(r, mixed)
		}
	default:
		i = pick(r, said)
	}
	return i, things[i]
}

// pairs draws n pairs of attribute and object that share neither; those of Train are none that is held out.
func pairs(r *rand.Rand, n int, split Split) []thing {
	out := make([]thing, n)
	for {
		a, o, held := r.Perm(len(attributes)), r.Perm(len(objects)), 0
		for i := range out {
			out[i] = thing{attribute: a[i], object: o[i]}
			if heldOut(a[i], o[i]) {
				held++
			}
		}
		if held == 0 || split.heldOut() {
			return out
		}
	}
}

// frame chooses one of some ways to say something, of which the last is held out of training.
func frame(r *rand.Rand, frames []string, split Split) string {
	f := pick(r, frames[:len(frames)-1])
	if split.heldOut() && r.Float64() < heldOutFrames {
		f = frames[len(frames)-1]
	}
	return f
}

// graded is, one time in three, a line that says how good an answer is, from 1 to 5.
func graded(r *rand.Rand, reward float64) string {
	if r.IntN(3) > 0 {
		return ""
	}
	rating := 1
	for _, threshold := range []float64{-1, 0.25, 1.5, 2.75} {
		if reward > threshold {
			rating++
		}
	}
	return fmt.Sprintf("RATING: %d\n", rating)
}

// twice is a document of two answers to a prompt, which are graded at times.
func twice(r *rand.Rand, prompt string, gold any, answer func() string, judge func(string) float64) Document {
	doc := Document{Prompt: prompt, Response: answer(), Gold: gold}
	second := answer()
	doc.Rest = graded(r, judge(doc.Response)) + answered + " " + second + "\n" + graded(r, judge(second))
	return doc
}
