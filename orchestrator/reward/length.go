package reward

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// openLength makes "length:N", closeness to a length of N words, or of N characters as
// "length:Nc":
//
//	R = max(0, 1 - |n - N| / N)
//
// n counts what stands between white space (as wc -w does), or the code points of the response
// without white space at its ends. The reward is 1 at N and falls evenly to 0 at nothing and at
// 2N, so an empty response has 0.
func openLength(argument string, _ Options) (Model, error) {
	digits, count, unit := argument, countWords, "w"
	if s, ok := strings.CutSuffix(argument, "c"); ok {
		digits, count, unit = s, countCharacters, "c"
	} else if s, ok := strings.CutSuffix(argument, "w"); ok {
		digits = s
	}
	goal, err := strconv.Atoi(digits)
	if err != nil || goal < 1 {
		return nil, badArgument("length", argument, "length:60 for 60 words, or length:300c for 300 characters")
	}
	return rule{
		info: Info{Name: "length:" + argument, Fingerprint: fmt.Sprintf("length 1 %d%s", goal, unit), Hi: 1},
		score: func(it Item) (float64, error) {
			off := math.Abs(float64(count(it.Response) - goal))
			return max(0, 1-off/float64(goal)), nil
		},
	}, nil
}

func countWords(text string) int { return len(strings.Fields(text)) }

func countCharacters(text string) int { return utf8.RuneCountInString(strings.TrimSpace(text)) }
