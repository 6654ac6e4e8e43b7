package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
)

// split are the prompts of a task: those to learn from, to choose settings on, and to report on.
// No prompt is in two of them.
type split struct{ learn, choose, test []prompt.Record }

const (
	learnPrompts  = 800 // of which the first 400 are learned from, but for the curve over their number
	choosePrompts = 50
	testPrompts   = 150
)

// openings are beginnings of film reviews, five words each, that say nothing yet of what the
// writer thinks.
func openings() split {
	articles := []string{"The", "This", "That", "Her", "His", "Their"}
	manners := strings.Fields("latest second new long short quiet old Danish French Japanese Canadian Italian Spanish German Polish Korean animated historical independent political silent modern final early")
	kinds := strings.Fields("thriller comedy drama western documentary musical romance sequel remake mystery epic biography satire adventure fable tragedy farce parable prequel picture")
	ways := []string{
		"follows a", "opens with", "begins in", "is about", "tells the", "starts with", "takes place", "was made", "tries to", "asks whether",
		"left me", "made me", "ends with", "looks like", "seems to", "feels like", "turns into", "stars two", "wants to", "moves from",
	}
	var all []prompt.Record
	for _, a := range articles {
		for _, m := range manners {
			for _, k := range kinds {
				for _, w := range ways {
					all = append(all, prompt.Record{Text: strings.Join([]string{a, m, k, w}, " ")})
				}
			}
		}
	}
	return cut("opening", all)
}

// instructions are messages that ask for a short text with two properties that a program can
// verify, of eight kinds. The tests' subjects, forms and arguments are others than those that are
// learned from.
func instructions() split {
	subjects := strings.Split("a rainy day,the moon,a lost key,coffee,a train ride,the sea,an old house,bread,a garden,winter,a library,bicycles,the desert,a birthday,music,a bridge,tea,the market,a dog,mountains,a letter,the city at night,a river,football,"+
		"school,an island,chess,a new job,clouds,a wedding,the forest,cooking,a neighbour,the post office,a clock,painting,a lighthouse,honey,summer,a broken cup", ",")
	forms := []string{"Write a short text about %s.", "Tell me something about %s.", "Describe %s.", "Write a few lines on %s.", "What comes to mind when you think of %s?", "Explain %s to a child."}
	keywords := strings.Fields("window yellow morning paper simple travel memory glass voice seven table gentle")
	endings := []string{"That is all.", "Have a nice day.", "Thanks for reading.", "Is there anything else?"}
	learn := combine(subjects, forms, keywords, endings, 1)
	test := combine(
		strings.Split("a museum,apples,the wind,a hospital,shoes,a violin,snow,the harbour,a ladder,stars,a kitchen,a long walk,horses,the attic,a map", ","),
		[]string{"Give me a paragraph about %s.", "Say a few words about %s.", "What can you say about %s?"},
		strings.Fields("silver corner basket quiet"), []string{"Let me know what you think.", "See you soon."}, 2)
	s := cut("instruction", learn)
	s.test = cut("new", test).learn[:testPrompts]
	return s
}

// constraint is a property that is asked for, with its kind and arguments as IFEval names them.
type constraint struct {
	id   string
	args map[string]any
	ask  string
}

// combine asks for texts of every form about every subject with two properties.
func combine(subjects, forms, keywords, endings []string, seed uint64) (all []prompt.Record) {
	rng := rand.New(rand.NewPCG(seed, 0))
	pick := func(from []string) string { return from[rng.IntN(len(from))] }
	constraints := func() []constraint {
		keyword, ending := pick(keywords), pick(endings)
		return []constraint{
			{"change_case:english_lowercase", map[string]any{}, "Use lower case letters only."},
			{"change_case:english_capital", map[string]any{}, "Use capital letters only."},
			{"punctuation:no_comma", map[string]any{}, "Do not use any commas."},
			{"length_constraints:number_words", map[string]any{"relation": "less than", "num_words": 26}, "Use at most 25 words."},
			{"keywords:existence", map[string]any{"keywords": []string{keyword}}, fmt.Sprintf("Use the word %q.", keyword)},
			{"startend:end_checker", map[string]any{"end_phrase": ending}, fmt.Sprintf("End with the words %q.", ending)},
			{"detectable_format:number_bullet_lists", map[string]any{"num_bullets": 3}, "Write exactly three bullet points, each beginning with *."},
			{"startend:quotation", map[string]any{}, "Put the whole answer in double quotation marks."},
		}
	}
	for _, subject := range subjects {
		for _, form := range forms {
			for range 6 {
				cs := constraints()
				i, j := rng.IntN(len(cs)), rng.IntN(len(cs)-1)
				if j >= i {
					j++
				}
				if i < 2 && j < 2 { // both cases at once
					continue
				}
				a, b := cs[i], cs[j]
				all = append(all, prompt.Record{
					Messages: []llama.Message{{Role: "user", Content: fmt.Sprintf(form, subject) + " " + a.ask + " " + b.ask}},
					Fields: map[string]json.RawMessage{
						"instruction_id_list": raw([]string{a.id, b.id}), "kwargs": raw([]any{a.args, b.args}),
					},
				})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b prompt.Record) int { return strings.Compare(a.Messages[0].Content, b.Messages[0].Content) })
	return slices.CompactFunc(all, func(a, b prompt.Record) bool { return a.Messages[0].Content == b.Messages[0].Content })
}

// cut shuffles records, names them, and deals them out.
func cut(name string, all []prompt.Record) split {
	rng := rand.New(rand.NewPCG(7, 0))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for i := range all {
		all[i].ID = fmt.Sprintf("%s-%04d", name, i)
	}
	take := func(n int) []prompt.Record {
		n = min(n, len(all))
		out := all[:n]
		all = all[n:]
		return out
	}
	return split{take(learnPrompts), take(choosePrompts), take(testPrompts)}
}

func raw(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // of values that are written out above
	}
	return data
}
