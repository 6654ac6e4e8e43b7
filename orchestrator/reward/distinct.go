package reward

import (
	"fmt"
	"strconv"
	"strings"
)

// openDistinct makes "distinct:N", the share of the response's N-grams of words that are
// different from each other (distinct-N of Li et al. 2016, arXiv 1510.03055, of one response);
// "distinct" is distinct:2:
//
//	R = #different N-grams / #N-grams
//
// Words are runs of letters and digits in any case. A response of fewer than N words has no
// N-gram and the reward 0, an empty one with it: saying nothing is not to be the best way of
// not repeating oneself. Any short response is near 1; add a length to ask for more.
func openDistinct(argument string, _ Options) (Model, error) {
	n, err := strconv.Atoi(argument)
	if argument == "" {
		n, err = 2, nil
	}
	if err != nil || n < 1 || n > 100 {
		return nil, badArgument("distinct", argument, "distinct:2 for pairs of words, or another number of words from 1 to 100")
	}
	return rule{
		info:  Info{Name: name("distinct", argument), Fingerprint: fmt.Sprintf("distinct 1 %d", n), Hi: 1, Prefixes: true},
		score: func(it Item) (float64, error) { return distinct(words(it.Response), n), nil },
	}, nil
}

func distinct(words []string, n int) float64 {
	if len(words) < n {
		return 0
	}
	total, seen := len(words)-n+1, map[string]bool{}
	for i := range total {
		seen[strings.Join(words[i:i+n], " ")] = true
	}
	return float64(len(seen)) / float64(total)
}
