package main

// distinct is the share of different pairs of words in an answer: what falls where a policy
// begins to say the same again and again.
const distinct = "distinct"

// task is a reward, with prompts to learn it from and to report on.
type task struct {
	name, about string
	reward      string   // its spec
	others      []string // rewards that nothing learns: distinct among them
	prompts     split
	maxTokens   int     // of an answer
	maxKL       float64 // of settings that are chosen, nats an answer where that is exact
	inside      bool    // the reward is meant to be asked at decoding time
	claims      func(*result) []verdict
}

func tasks() []task {
	return []task{
		{
			name: "sentiment", about: "Openings of film reviews, five words of plain text, which the model continues by up to 48 tokens. The reward is VADER's compound sentiment of the continuation.",
			reward: "sentiment", others: []string{distinct, "length:36"}, prompts: openings(), maxTokens: 48, maxKL: 7, claims: sentimentClaims,
		},
		{
			name: "checks", about: "Short instructions with two constraints that a program verifies, in the model's chat form, up to 64 tokens. The reward is the share of them that the answer meets. The test's subjects, forms and arguments are others than those that are learned from.",
			reward: "checks", others: []string{distinct, "sentiment"}, prompts: instructions(), maxTokens: 64, maxKL: 10, inside: true, claims: checksClaims,
		},
	}
}
