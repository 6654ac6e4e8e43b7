package batch

import (
	"encoding/json"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/policy"
)

// AnswersOptions are what the answers to many prompts depend on. The names are those that people know
// the settings by.
type AnswersOptions struct {
	Model    string          `json:"model"`    // its fingerprint
	Prompts  string          `json:"prompts"`  // their hash
	Encoding string          `json:"encoding"` // how they become tokens
	Date     string          `json:"date"`     // on which they were begun, if the template tells it
	Value    string          `json:"value"`    // the value function, and what is read from it
	Method   decode.Method   `json:"method"`
	Samples  int             `json:"samples"`
	Beam     decode.Beam     `json:"beam"`
	Guide    decode.Guide    `json:"guide"`
	Proposal float64         `json:"proposal,omitempty"` // its beta; left out where it is 0, as in files of before there were any
	Rerank   string          `json:"rerank,omitempty"`   // the reward that takes part in the search
	Rollouts decode.Rollouts `json:"rollouts,omitzero"`
	Thoughts decode.Thoughts `json:"thoughts,omitzero"`
	TargetKL float64         `json:"target_kl,omitempty"` // that beta was chosen by; it is not chosen again
	Betas    string          `json:"betas,omitempty"`     // "head" where there are some in units of the value function, as there were none in the first files
	Sampling policy.Sampling `json:"sampling"`
	Predict  int             `json:"predict"` // most tokens of a response; -1 for what the context holds
	NProbs   int             `json:"n_probs,omitempty"`
	Stop     []string        `json:"reverse_prompt"`
	Seed     uint64          `json:"seed"`
	Shard    int             `json:"shard"`
	Parallel int             `json:"parallel"`
	Context  int             `json:"ctx_size"` // tokens of a prompt and its response
	Batch    int             `json:"batch_size"`
	UBatch   int             `json:"ubatch_size"`
	Flash    string          `json:"flash_attn"`
	CacheK   string          `json:"cache_type_k"`
	CacheV   string          `json:"cache_type_v"`
}

// Options tells what the answers to tasks depend on. encoding is how their prompts became tokens,
// value identifies the value function. Date, Predict and Context are for the caller to set.
func (m *Many) Options(model *llama.Model, tasks []Task, encoding, value string) (*AnswersOptions, error) {
	s, c := m.Policy.Strategy, m.Context
	o := &AnswersOptions{
		Encoding: encoding, Value: value, Method: s.Method, Samples: s.N, Beam: s.Beam, Guide: s.Guide, Proposal: s.Proposal, Sampling: m.Policy.Sampling,
		NProbs: m.Policy.TopLogProbs, Stop: m.Policy.Stop, Seed: m.Seed, Shard: m.Shard, Parallel: m.Parallel,
		Batch: c.Batch, UBatch: c.UBatch, Flash: c.Flash.String(), CacheK: c.CacheK.String(), CacheV: c.CacheV.String(),
	}
	if m.Policy.ValueBy != nil {
		o.Value = "reward " + m.Policy.ValueBy.Info().Fingerprint
	}
	if m.Policy.Rerank != nil {
		o.Rerank = m.Policy.Rerank.Info().Fingerprint
	}
	if s.Rollouts.N > 0 {
		o.Rollouts = s.Rollouts
	}
	o.Thoughts = m.Policy.Thoughts
	if s.UsesBeta() && !s.RawBeta {
		o.Betas = "head"
	}
	if o.Method == decode.MethodSample {
		o.Samples = tasks[0].Samples
	}
	var err error
	if o.Model, err = model.Fingerprint(); err != nil {
		return nil, err
	}
	digest := xxhash.New()
	for _, t := range tasks {
		if err := json.NewEncoder(digest).Encode(t.Record); err != nil {
			return nil, err
		}
	}
	o.Prompts = fmt.Sprintf("%016x", digest.Sum64())
	return o, nil
}
