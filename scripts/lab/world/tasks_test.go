package world

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/ivo-decoding/ivo/orchestrator/reward"
	"github.com/ivo-decoding/ivo/orchestrator/think"
)

// scorers draw a prompt of each task and return what answers of a quality to it are worth.
var scorers = map[string]func(r *rand.Rand) func(quality int) float64{
	"dialogue": func(r *rand.Rand) func(int) float64 {
		c := newConversation(r, Test)
		return func(q int) float64 { return c.gold.Judge(c.answer(r, q, Test)).Reward }
	},
	"instruct": func(r *rand.Rand) func(int) float64 {
		g, _ := newConstraints(r, Test)
		return func(q int) float64 { return g.Judge(line(r, g, q)).Reward }
	},
	"safety":           safetyScorer(Safety{Aligned: true}),
	"safety unaligned": safetyScorer(Safety{}),
}

func safetyScorer(s Safety) func(r *rand.Rand) func(int) float64 {
	return func(r *rand.Rand) func(int) float64 {
		q, _ := newRequest(r, Test)
		return func(quality int) float64 {
			return q.gold.Judge(q.answer(r, r.Float64() < s.refusing(q), quality, Test)).Reward
		}
	}
}

// Good answers are worth more than bad ones, and the best of 16 writers leaves the room that the trained
// model's gate asks for.
func TestWritersLeaveRoom(t *testing.T) {
	for name, draws := range scorers {
		r := rand.New(rand.NewPCG(2, 1))
		var all, best []float64
		byQuality := make([][]float64, len(styles))
		for range 120 {
			score := draws(r)
			var group []float64
			for range 16 {
				q := draw(r, qualityShare)
				x := score(q)
				group, byQuality[q] = append(group, x), append(byQuality[q], x)
			}
			all, best = append(all, group...), append(best, slices.Max(group))
		}
		mean, sd := meanSD(all)
		top, _ := meanSD(best)
		if room := (top - mean) / sd; room < 1.35 {
			t.Errorf("%s: the best of 16 is %.2f sd above the mean", name, room)
		}
		last := math.Inf(-1)
		for q := range styles {
			m, _ := meanSD(byQuality[q])
			if m <= last {
				t.Errorf("%s: answers of quality %d are worth %.2f, no more than the %.2f of worse ones", name, q, m, last)
			}
			last = m
		}
		if last < mean+0.5*sd {
			t.Errorf("%s: good answers are worth %.2f, all %.2f (sd %.2f)", name, last, mean, sd)
		}
	}
}

// Aligned writers refuse most harmful requests, others half of them, and few refuse harmless ones.
func TestAlignment(t *testing.T) {
	for _, tc := range []struct {
		aligned bool
		harmful [2]float64 // least and most
	}{{true, [2]float64{.87, .97}}, {false, [2]float64{.44, .63}}} {
		var n, safe [2]float64
		for doc := range Documents(Safety{tc.aligned}, Test, 1) {
			if n[0]+n[1] == 1000 {
				break
			}
			g := doc.Gold.(reward.SafetyGold)
			i := 0
			if g.Harmful {
				i = 1
			}
			v := g.Judge(doc.Response)
			n[i]++
			if v.Safe {
				safe[i]++
			}
			if g.Harmful && v.Refuses && v.Steps > 0 {
				t.Errorf("a refusal serves: %q", doc.Response)
			}
		}
		if s := safe[1] / n[1]; s < tc.harmful[0] || s > tc.harmful[1] {
			t.Errorf("aligned %v: %.3f of the answers to harmful requests are safe, want %v", tc.aligned, s, tc.harmful)
		}
		if s := 1 - safe[0]/n[0]; s > .1 {
			t.Errorf("aligned %v: %.3f of the harmless requests are refused", tc.aligned, s)
		}
	}
}

// A harmful request has twins that differ in one thing and are harmless.
func TestHarmIsInBothHalves(t *testing.T) {
	for _, split := range []Split{Train, Test} {
		r := rand.New(rand.NewPCG(4, uint64(split)))
		for range 500 {
			q, text := newRequest(r, split)
			others, harms := !strings.Contains(text, "my own"), slices.Contains(bad, q.done)
			if q.gold.Harmful != (others && harms) {
				t.Errorf("%q is taken for harmful: %v", text, q.gold.Harmful)
			}
		}
	}
}

// The prompts of the splits never overlap, and their gold is read by the task's rule and "gold".
func TestSplits(t *testing.T) {
	for name, task := range Tasks {
		seen, all := map[string]bool{}, map[string]bool{}
		for _, split := range []Split{Train, Test, Validation} {
			prompts, err := Prompts(task, split, 20+uint64(split), 150, seen)
			if err != nil || len(prompts) != 150 {
				t.Fatalf("%s: %d prompts, %v", name, len(prompts), err)
			}
			for _, p := range prompts {
				if all[p.Text] || !strings.HasPrefix(p.ID, split.String()+"-") {
					t.Errorf("%s: %s is there already, or has a wrong id: %q", name, p.ID, p.Text)
				}
				all[p.Text] = true
			}
			for _, rule := range []string{"", name} {
				if err := (reward.Gold{Rule: rule}).Check(t.Context(), prompts); err != nil {
					t.Errorf("%s, rule %q: %v", name, rule, err)
				}
			}
		}
	}
}

// The world's text is the same again, and training text has no held-out pair, attack or frame.
func TestTasksHoldOut(t *testing.T) {
	held := []string{"i hope to see a ", "keep to ", "go from ", "at the end.", "out.", "how?", "say what is on it now"}
	held = append(held, newAttacks...)
	for name, task := range Tasks {
		if name == "summarize" {
			continue
		}
		for split, wantPairs := range map[Split]bool{Train: false, Test: true} {
			pairs, frames := 0, 0
			docs := first(task, split, 400)
			for _, doc := range docs {
				ws := strings.FieldsFunc(doc.Text(), func(r rune) bool { return !unicode.IsLetter(r) })
				for i := range ws[1:] {
					a, o := slices.Index(attributes, ws[i]), slices.Index(objects, ws[i+1])
					if a >= 0 && o >= 0 && heldOut(a, o) && name != "instruct" {
						pairs++
					}
				}
				for _, f := range held {
					frames += strings.Count(doc.Prompt, f)
				}
			}
			if (pairs > 0) != (wantPairs && name != "instruct") || (frames > 0) != wantPairs {
				t.Errorf("%s, %s: %d held-out pairs and %d held-out frames", name, split, pairs, frames)
			}
			if !reflect.DeepEqual(docs, first(task, split, 400)) {
				t.Errorf("%s: the same seed gave two texts", name)
			}
		}
	}
}

func first(task Task, split Split, n int) (docs []Document) {
	for doc := range Documents(task, split, 3) {
		if docs = append(docs, doc); len(docs) == n {
			break
		}
	}
	return docs
}

// What is taken back or changed is taken back after it was named.
func TestConversation(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for range 300 {
		c := newConversation(r, Test)
		text := strings.Join(c.turns, " ")
		for _, wording := range slices.Concat(c.gold.List, c.gold.Off) {
			attribute, object, _ := strings.Cut(wording, " ")
			if !strings.Contains(text, wording) && !(strings.Contains(text, attribute+".") && strings.Contains(text, object)) &&
				!strings.Contains(text, object+" is "+attribute) {
				t.Errorf("%q is never said: %s", wording, text)
			}
		}
		for _, off := range c.gold.Off {
			_, object, _ := strings.Cut(off, " ")
			first := strings.Index(text, off)
			for _, back := range []string{"not the " + object + " now", "no " + object + ".", "keep the " + object + " out", "the " + object + " is "} {
				if at := strings.Index(text, back); at >= 0 && at < first {
					t.Errorf("%q is taken back before it is named: %s", off, text)
				}
			}
		}
		perfect := c.gold.Judge("yes: " + strings.Join(c.gold.List, ", and ") + ", what else?")
		if want := float64(len(c.gold.List)) + .5 - .02*float64(perfect.Words); math.Abs(perfect.Reward-want) > 1e-9 {
			t.Errorf("the perfect answer has %.2f, want %.2f: %v", perfect.Reward, want, c.gold)
		}
	}
}

// A thought notes what the summary tells, but for a thing that a careless writer mixes up.
func TestThoughtsTellTheSummary(t *testing.T) {
	format, ok := think.Find(ThinkTemplate, nil)
	if !ok {
		t.Fatal("the template shows no thoughts")
	}
	n, mixed := 0, 0
	for doc := range Documents(Think{}, Train, 1) {
		if n++; n > 500 {
			break
		}
		thought, answer := format.Split(doc.Response)
		notes := strings.Split(thought, ", ")
		if told := strings.Count(answer, ",") + 1; len(notes) != told || thought == "" {
			t.Fatalf("%d notes, %d things told: %q", len(notes), told, doc.Response)
		}
		off := slices.DeleteFunc(notes, func(note string) bool { return strings.Contains(answer, note) })
		if mixed += len(off); len(off) > 1 {
			t.Errorf("%q of the notes are not told: %q", off, doc.Response)
		}
	}
	if share := float64(mixed) / 500; share < 0.2 || share > 0.45 {
		t.Errorf("%.2f of the writers mix something up", share)
	}
}
