package world

import (
	"math/rand/v2"
	"strings"
)

// Think is [Summarize] with a thought before the summary: the writer notes down what to tell, and then tells it. So it is
// mostly the thought that decides how good a summary is; but a third of the writers mix up a thing that they noted.
type Think struct{}

// Name is "think".
func (Think) Name() string { return "think" }

const thinkOpen, thinkClose = "<think>", "</think>"

// ThinkTemplate is the chat template of a model of the task: a message is a post.
const ThinkTemplate = `{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}
` + cue + `{% elif m.role == 'assistant' %}{% if m.reasoning_content %} ` + thinkOpen + ` {{ m.reasoning_content }} ` + thinkClose + `{% endif %} {{ m.content }}
{% else %}{{ m.content }}
{% endif %}{% endfor %}`

// mixedUp is the share of writers who mix up what they noted.
const mixedUp = 1.0 / 3

// Document draws a post, and a thought and a summary of it.
func (Think) Document(r *rand.Rand, split Split) Document {
	p := newPost(r, split)
	s := styles[draw(r, qualityShare)]
	exact := s
	exact.garble, exact.repeat = 0, 0
	told := make([]bool, len(p.items))
	var noted []clause
	var notes []string
	for range 1 + draw(r, s.lengths) {
		c := p.next(r, exact, told)
		noted, notes = append(noted, c), append(notes, strings.Join(c.words[1:], " "))
	}
	if r.Float64() < mixedUp {
		c := &noted[r.IntN(len(noted))]
		m := pick(r, p.garbled(p.items[c.item]))
		c.words[1], c.words[2], c.right = attributes[m.attribute], objects[m.object], false
	}
	answer := openings[draw(r, s.openings)] + ":"
	for n, c := range noted {
		answer += c.joined(r, n)
	}
	return Document{
		Prompt:   strings.Join(p.sentences(r), " ") + "\n" + cue,
		Response: thinkOpen + " " + strings.Join(notes, ", ") + " " + thinkClose + " " + answer,
		Gold:     p.gold(),
	}
}
