package train

import (
	"context"
	"fmt"
	"math"
)

// Pair is two conversations that end in two answers to one prompt, of which the first was
// preferred. Each scores the weighted sum of what the model says at its tokens: a reward model's
// score of the tokens up to there, or a policy's log-probability of the token. So weights say
// what counts, such as 1 for the last token alone, or for each of the answer's.
type Pair struct {
	Chosen, Rejected Doc
	// Offset is what the chosen one's score is to exceed the other's by before it counts: a margin
	// of rewards, or of policies what the reference says of it (see [Model.Reference]).
	Offset float64
}

func examplesOfPairs(pairs []Pair) []example {
	out := make([]example, len(pairs))
	for i, p := range pairs {
		out[i] = example{[]Doc{p.Chosen, p.Rejected}, p.Offset}
	}
	return out
}

// logistic is -log sigmoid(beta * score): the negative log-likelihood of the preference by Bradley
// and Terry (1952) where beta is 1, and of DPO (arXiv 2305.18290, equation 7).
func logistic(beta float64) loss {
	return func(score float64) (l, dl float64) {
		x := beta * score
		return max(-x, 0) + math.Log1p(math.Exp(-math.Abs(x))), -beta / (1 + math.Exp(x))
	}
}

// square is (score - 1/(2 tau))^2, the loss of IPO (arXiv 2310.12036, equation 17).
func square(tau float64) loss {
	return func(score float64) (l, dl float64) {
		x := score - 1/(2*tau)
		return x * x, 2 * x
	}
}

// RewardModel is a network with a single output for each token, its score. It is written as its
// trunk and its output, since no model of llama.cpp's has a single output.
type RewardModel struct {
	Config Config
	model  *Model
}

// TrainReward fine-tunes the whole of base, with a new output, on preferences by the loss of
// Bradley and Terry: -log sigmoid(r(chosen) - r(rejected) - offset).
func TrainReward(ctx context.Context, base *Model, opts Options, pairs, heldOut []Pair) (*RewardModel, error) {
	cfg := base.Config
	cfg.Tied, cfg.Outputs = false, 1
	opts.From = base
	m, err := run(ctx, cfg, opts, objective{"Bradley-Terry", logistic(1)}, examplesOfPairs(scored(pairs)), examplesOfPairs(scored(heldOut)))
	if err != nil {
		return nil, err
	}
	return &RewardModel{m.Config, m}, nil
}

// scored are pairs whose documents are read at every token instead of predicting the next.
func scored(pairs []Pair) []Pair {
	out := make([]Pair, len(pairs))
	for i, p := range pairs {
		out[i] = Pair{p.Chosen.scored(), p.Rejected.scored(), p.Offset}
	}
	return out
}

func (d Doc) scored() Doc {
	d.Classes = make([]Class, len(d.Tokens))
	return d
}

// Scores are what the documents score. The number of workers (0 for GOMAXPROCS) does not change it.
func (m *RewardModel) Scores(ctx context.Context, docs []Doc, workers int) ([]float64, error) {
	read := make([]Doc, len(docs))
	for i, d := range docs {
		read[i] = d.scored()
	}
	return m.model.scores(ctx, read, workers)
}

// Output is the vector whose product with a state after the final norm is the state's score, [Width].
func (m *RewardModel) Output() []float32 { return m.Config.view(m.model.params).out }

// Norm are the gains of the final norm, [Width].
func (m *RewardModel) Norm() []float32 { return m.Config.view(m.model.params).norm }

// Trunk is the network without its output: as a GGUF its states are the reward model's, and its
// logits, by the embedding, mean nothing.
func (m *RewardModel) Trunk() *Model {
	c := m.Config
	c.Tied, c.Outputs = true, c.Vocab
	return &Model{Config: c, params: m.model.params[:c.Params()]}
}

// PairLoss is what a policy is trained on preferences by.
type PairLoss struct {
	name   string
	of     loss
	chosen bool // the chosen answer alone counts
}

// DPO is -log sigmoid(beta (log-ratio)) of the policy's log-ratio of both answers less the reference's.
func DPO(beta float64) PairLoss {
	return PairLoss{name: fmt.Sprintf("DPO %v", beta), of: logistic(beta)}
}

// IPO is (log-ratio - 1/(2 tau))^2 of the same log-ratio.
func IPO(tau float64) PairLoss { return PairLoss{name: fmt.Sprintf("IPO %v", tau), of: square(tau)} }

// SFT is minus the mean log-probability of the chosen answers' tokens: where they are the best of some
// samples, supervised fine-tuning on best-of-n. The other answers and the reference count for nothing.
func SFT() PairLoss { return PairLoss{name: "SFT", of: likelihood, chosen: true} }

// TrainPolicy fine-tunes the whole of base on preferences. The pairs' offsets are the reference's
// (see [Model.Reference]).
func TrainPolicy(ctx context.Context, base *Model, by PairLoss, opts Options, pairs, heldOut []Pair) (*Model, error) {
	opts.From = base
	return run(ctx, base.Config, opts, objective{by.name, by.of}, by.examples(pairs), by.examples(heldOut))
}

func (by PairLoss) examples(pairs []Pair) []example {
	if !by.chosen {
		return examplesOfPairs(pairs)
	}
	out := make([]example, len(pairs))
	for i := range pairs {
		out[i].docs = []Doc{pairs[i].Chosen}
	}
	return out
}

// Reference is by how much the model's log-probability of each pair's chosen answer exceeds that
// of the other: the offset of the pair where the model is the reference.
func (m *Model) Reference(ctx context.Context, pairs []Pair, workers int) ([]float64, error) {
	var docs []Doc
	for _, p := range pairs {
		docs = append(docs, p.Chosen, p.Rejected)
	}
	scores, err := m.scores(ctx, docs, workers)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(pairs))
	for i := range out {
		out[i] = scores[2*i] - scores[2*i+1]
	}
	return out, nil
}

// LogProbs are the log-probabilities of the documents, in nats: the sums of their tokens' by their weights.
// The number of workers (0 for GOMAXPROCS) does not change them.
func (m *Model) LogProbs(ctx context.Context, docs []Doc, workers int) ([]float64, error) {
	return m.scores(ctx, docs, workers)
}

// scores are the documents' weighted sums of what the model says.
func (m *Model) scores(ctx context.Context, docs []Doc, workers int) ([]float64, error) {
	if len(docs) == 0 {
		return nil, ctx.Err()
	}
	examples, out := examplesOf(docs), make([]float64, len(docs))
	if err := checkExamples("given", examples, m.Config); err != nil {
		return nil, err
	}
	err := m.each(ctx, examples, workers, func(first int, p *pass) {
		for i, r := range p.read {
			out[first+i] = p.score(r)
		}
	})
	return out, err
}
