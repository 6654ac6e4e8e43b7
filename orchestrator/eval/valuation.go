package eval

import (
	"context"
	"slices"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/orchestrator/batch"
	"github.com/ivo-decoding/ivo/orchestrator/decode"
	"github.com/ivo-decoding/ivo/orchestrator/engine"
	"github.com/ivo-decoding/ivo/orchestrator/prompt"
	"github.com/ivo-decoding/ivo/valuehead"
)

// Valuation values a response after every token.
type Valuation struct {
	Encoder  *prompt.Encoder
	Prompt   prompt.Record
	Response string // whose special tokens are recognised; "" to have one sampled

	Size    int             // most tokens of prompt and response
	Request decode.Request  // with the value function, but for the tokens; MaxTokens of a sampled response, 0 for all that there is room for
	Context batch.Context   // but for its cells
	Layers  []int           // whose states the value function reads
	Head    *valuehead.Head // the value function, if it is one on the policy's own states

	Progress func(decoded, most int)
}

// Quantiles are what a categorical head believes of the return.
type Quantiles struct {
	Q10 float32 `json:"0.1"`
	Q50 float32 `json:"0.5"`
	Q90 float32 `json:"0.9"`
}

// Run values the response, with quantiles after each token where the head has a distribution.
func (v Valuation) Run(ctx context.Context, m *llama.Model) (r decode.Response, _ []Quantiles, err error) {
	response, err := v.fit()
	if err != nil {
		return r, nil, err
	}
	v.Context.Cells = decode.Strategy{Method: decode.MethodSample}.Cells(len(v.Request.Prompt), v.Request.MaxTokens)
	e, err := engine.New(m, v.Context.Params(1, v.Layers))
	if err != nil {
		return r, nil, err
	}
	defer e.Close()
	v.Request.EachValue, v.Request.Record, v.Request.RecordPrompt = true, v.Head != nil, v.Head != nil
	if v.Progress != nil {
		v.Request.Progress = func(decoded int) { v.Progress(decoded, v.Request.MaxTokens) }
	}
	var job engine.Job
	if response != nil {
		job, err = decode.Follow(e, v.Request, response, func(done decode.Response) { r = done })
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

// fit turns the texts into tokens that the context holds.
func (v *Valuation) fit() (response []int32, err error) {
	if v.Request.Prompt, err = v.Encoder.Encode(v.Prompt); err != nil {
		return nil, err
	}
	v.Request.Stop = slices.Concat(v.Request.Stop, v.Encoder.Stops(v.Prompt))
	if v.Response != "" {
		if response, err = v.Encoder.Continuation(v.Prompt, v.Response); err != nil {
			return nil, err
		}
		v.Request.MaxTokens = len(response)
	}
	room := v.Size - len(v.Request.Prompt)
	if v.Request.MaxTokens == 0 {
		v.Request.MaxTokens = room
	}
	if most := v.Request.MaxTokens; room < 1 || most > room {
		return nil, fault.New("", "ctx", len(v.Request.Prompt)+max(1, most), "raise {ctx}, lower {max_tokens}, or shorten the text",
			"the prompt has %d tokens and the response up to %d, the context holds %d", len(v.Request.Prompt), max(1, most), v.Size)
	}
	return response, nil
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
	width, scalars := len(r.States)/len(r.Tokens), len(r.Scalars)/len(r.Tokens)
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
