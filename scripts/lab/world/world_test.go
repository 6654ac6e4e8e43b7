package world

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

func take(split Split, seed uint64, n int) []Document {
	var docs []Document
	for doc := range Documents(Summarize{}, split, seed) {
		if docs = append(docs, doc); len(docs) == n {
			break
		}
	}
	return docs
}

func TestDeterministic(t *testing.T) {
	texts := func(seed uint64) string {
		var b strings.Builder
		for _, doc := range take(Train, seed, 50) {
			b.WriteString(doc.Text())
		}
		return b.String()
	}
	if first, again := texts(7), texts(7); first != again {
		t.Error("the same seed gave two texts")
	}
	if texts(7) == texts(8) {
		t.Error("two seeds gave the same text")
	}
	a, err := Prompts(Summarize{}, Test, 3, 20, map[string]bool{})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := Prompts(Summarize{}, Test, 3, 20, map[string]bool{})
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Error("the same seed gave two lists of prompts")
	}
}

func TestPromptsAreDistinct(t *testing.T) {
	seen := map[string]string{}
	for split, n := range map[Split]int{Train: 3000, Test: 300} {
		prompts, err := Prompts(Summarize{}, split, 11+uint64(split), n, map[string]bool{})
		if err != nil || len(prompts) != n {
			t.Fatalf("%d prompts, %v", len(prompts), err)
		}
		for _, p := range prompts {
			if other, ok := seen[p.Text]; ok {
				t.Fatalf("%s and %s are the same", p.ID, other)
			}
			seen[p.Text] = p.ID
		}
	}
}

// A summary that tells every fact once and nothing else has the largest reward any
// response of its length can have, and any change for the worse costs.
func TestPerfectSummary(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for range 200 {
		p := newPost(r, Test)
		var right, wrong []string
		for _, it := range p.items {
			c := families[it.family][r.IntN(2)] + " " + attributes[it.attribute] + " " + objects[it.object]
			if it.fact {
				right = append(right, c)
			} else {
				wrong = append(wrong, c)
			}
		}
		r.Shuffle(len(right), func(i, j int) { right[i], right[j] = right[j], right[i] })
		judge := func(clauses ...string) reward.SummaryVerdict {
			return p.gold().Judge("in short: " + strings.Join(clauses, ", and "))
		}
		perfect := judge(right...)
		if want := p.gold().Max(perfect.Words); math.Abs(perfect.Reward-want) > 1e-9 {
			t.Errorf("perfect summary %v has reward %.2f, want %.2f", right, perfect.Reward, want)
		}
		for name, worse := range map[string]reward.SummaryVerdict{
			"omission":   judge(right[1:]...),
			"distractor": judge(append(slices.Clone(right), wrong[0])...),
			"repetition": judge(append(slices.Clone(right), right[0])...),
		} {
			if worse.Reward >= perfect.Reward {
				t.Errorf("%s: reward %.2f, no less than %.2f", name, worse.Reward, perfect.Reward)
			}
		}
	}
}

// framePattern matches a sentence written with a frame.
func framePattern(frame string) *regexp.Regexp {
	p := strings.NewReplacer(
		"WHEN", "("+strings.Join(times, "|")+")", "WHERE", "("+strings.Join(places, "|")+")",
		"WHO", "("+strings.Join(persons, "|")+")", "V", "[a-z]+", "O", "[a-z]+ [a-z]+", ".", `\.`,
	).Replace(frame)
	return regexp.MustCompile("(^|[.] )" + p)
}

func TestHeldOutOfTraining(t *testing.T) {
	frames := []*regexp.Regexp{
		framePattern(factFrames[len(factFrames)-1]),
		framePattern(distractorFrames[len(distractorFrames)-1]),
	}
	count := func(docs []Document, text func(Document) string) (pairs, heldPairs, heldFrames int) {
		for _, doc := range docs {
			ws := strings.FieldsFunc(text(doc), func(r rune) bool { return !unicode.IsLetter(r) })
			for i := range ws[1:] {
				a, o := slices.Index(attributes, ws[i]), slices.Index(objects, ws[i+1])
				if a < 0 || o < 0 {
					continue
				}
				pairs++
				if heldOut(a, o) {
					heldPairs++
				}
			}
			for _, f := range frames {
				heldFrames += len(f.FindAllString(doc.Prompt, -1))
			}
		}
		return pairs, heldPairs, heldFrames
	}
	_, heldPairs, heldFrames := count(take(Train, 1, 4000), Document.Text)
	if heldPairs != 0 || heldFrames != 0 {
		t.Errorf("training text has %d held-out pairs and %d held-out frames", heldPairs, heldFrames)
	}
	docs := take(Test, 1, 300)
	pairs, heldPairs, heldFrames := count(docs, func(d Document) string { return d.Prompt })
	items := len(docs) * (numFacts + numDistractors)
	if pairs != items {
		t.Fatalf("%d pairs in %d test prompts, want %d", pairs, len(docs), items)
	}
	for what, n := range map[string]int{"pairs": heldPairs, "frames": heldFrames} {
		if share := float64(n) / float64(items); share < 0.15 || share > 0.35 {
			t.Errorf("held-out %s are %.2f of the test prompts', want 0.15 to 0.35", what, share)
		}
	}
}

// The mix as the world's design wants it: bad summaries are worth little on average,
// good ones nearly the maximum, and openings tell them apart.
func TestQualityMix(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	means := make([]float64, len(styles))
	for q := range styles {
		var rewards []float64
		for range 2000 {
			p := newPost(r, Train)
			rewards = append(rewards, p.gold().Judge(p.summary(r, q)).Reward)
		}
		means[q], _ = meanSD(rewards)
	}
	for q, want := range [][2]float64{{-1.5, 0}, {-0.5, 1}, {2.75, 4}} {
		if means[q] < want[0] || means[q] > want[1] {
			t.Errorf("quality %d has mean reward %.2f, want %v", q, means[q], want)
		}
	}

	byOpening, graded, words := map[string][]float64{}, 0, map[string]bool{}
	docs := take(Train, 2, 6000)
	for _, doc := range docs {
		opening, _, _ := strings.Cut(doc.Response, ":")
		byOpening[opening] = append(byOpening[opening], doc.Gold.(reward.SummaryGold).Judge(doc.Response).Reward)
		if strings.HasPrefix(doc.Rest, "CHECK:") {
			graded++
		}
		for _, w := range strings.FieldsFunc(doc.Text(), func(r rune) bool { return !unicode.IsLetter(r) }) {
			words[w] = true
		}
	}
	for i, o := range openings[1:] {
		before, _ := meanSD(byOpening[openings[i]])
		if m, _ := meanSD(byOpening[o]); m <= before {
			t.Errorf("opening %q has mean reward %.2f, no more than %q's %.2f", o, m, openings[i], before)
		}
	}
	if share := float64(graded) / float64(len(docs)); math.Abs(share-1.0/3) > 0.03 {
		t.Errorf("%.2f of the responses are graded, want 1/3", share)
	}
	if len(words) > 500 {
		t.Errorf("the world has %d words, want at most 500", len(words))
	}
}
