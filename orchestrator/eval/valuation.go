package eval

import (
	"context"

	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Valuation values a response after every token.
type Valuation struct {
	Params   engine.Params   // but for the size
	Request  decode.Request  // with the value function; most tokens of a response that is sampled
	Response []int32         // nil to have one sampled
	Head     *valuehead.Head // if it is one on the policy's own states
}

// Quantiles are what a categorical head believes of the return.
type Quantiles struct {
	Q10 float32 `json:"0.1"`
	Q50 float32 `json:"0.5"`
	Q90 float32 `json:"0.9"`
}

// Run values the response, with quantiles after each token where the head has a distribution.
func (v Valuation) Run(ctx context.Context, m *llama.Model) (r decode.Response, _ []Quantiles, err error) {
	v.Params.Sequences, v.Params.Ctx = 1, decode.Strategy{Method: decode.MethodSample}.Cells(len(v.Request.Prompt), v.Request.MaxTokens)
	e, err := engine.New(m, v.Params)
	if err != nil {
		return r, nil, err
	}
	defer e.Close()
	v.Request.EachValue, v.Request.Record, v.Request.RecordPrompt = true, v.Head != nil, v.Head != nil
	var job engine.Job
	if v.Response != nil {
		job, err = decode.Follow(e, v.Request, v.Response, func(done decode.Response) { r = done })
	} else {
		job, err = decode.Sample(e, v.Request, 1, func(done []decode.Response) { r = done[0] })
	}
	if err != nil {
		return r, nil, err
	}
	if err := e.Run(ctx, []engine.Job{job}); err != nil {
		return r, nil, err
	}
	quantiles, err := v.quantiles(r)
	return r, quantiles, err
}

func (v Valuation) quantiles(r decode.Response) ([]Quantiles, error) {
	if v.Head == nil || v.Head.Atoms() == nil {
		return nil, nil
	}
	memory, err := v.Head.Begin(r.Prompt)
	if err != nil {
		return nil, err
	}
	out := make([]Quantiles, len(r.Tokens))
	width, scalars := len(r.States)/len(r.Tokens), len(decode.Scalars)
	for i, token := range r.Tokens {
		if err := memory.Push(token, r.States[i*width:(i+1)*width], r.Scalars[i*scalars:(i+1)*scalars]); err != nil {
			return nil, err
		}
		for _, q := range []struct {
			share float64
			to    *float32
		}{{0.1, &out[i].Q10}, {0.5, &out[i].Q50}, {0.9, &out[i].Q90}} {
			var value [1]float32
			if err := v.Head.Values([]*valuehead.Memory{memory}, valuehead.Reading{Quantile: q.share}, value[:]); err != nil {
				return nil, err
			}
			*q.to = value[0]
		}
	}
	return out, nil
}
