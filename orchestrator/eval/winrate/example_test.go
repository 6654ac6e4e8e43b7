package winrate_test

import (
	"context"
	"fmt"
	"log"

	"github.com/ivo-decoding/ivo/orchestrator/eval/winrate"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/orchestrator/reward"
)

// Two policies have answered three prompts; a reward judges.
func ExampleComparison() {
	m, err := reward.Open("sentiment", reward.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	var pairs []winrate.Pair
	for id, said := range map[string][2]string{
		"1": {"A wonderful film.", "A film."},
		"2": {"I liked it.", "I loved it, it is great!"},
		"3": {"A good book.", "A bad book."},
	} {
		pairs = append(pairs, winrate.Pair{Prompt: prompt.Record{ID: id}, A: winrate.Answer{Text: said[0]}, B: winrate.Answer{Text: said[1]}})
	}
	file, err := winrate.Open("", m, pairs) // "" keeps no verdicts
	if err != nil {
		log.Fatal(err)
	}
	c := winrate.Comparison{Judge: m}
	verdicts, err := c.Run(context.Background(), pairs, file)
	if err != nil {
		log.Fatal(err)
	}
	r := c.Report(pairs, verdicts, 0, 1)
	fmt.Printf("%d wins, %d ties, %d losses: %.0f %%\n", r.Wins, r.Ties, r.Losses, 100*r.WinRate.Mean)
	// Output: 2 wins, 0 ties, 1 losses: 67 %
}
