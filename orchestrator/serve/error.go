package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/ivo-decoding/ivo/internal/fault"
	"github.com/ivo-decoding/ivo/llama"
	"github.com/ivo-decoding/ivo/llama/jinja"
)

// problem is an error as OpenAI's API tells it.
type problem struct {
	status  int
	message string
	param   string // the field of the request that is at fault, as in messages[0].role; "" for none
	code    string // for programs; "" for none
	retry   int    // seconds after which to try again; 0 for none
}

func (p *problem) Error() string { return p.message }

// kind is OpenAI's word for the class of the error.
func (p *problem) kind() string {
	switch {
	case p.status == http.StatusUnauthorized || p.status == http.StatusForbidden:
		return "authentication_error"
	case p.status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case p.status >= 500:
		return "server_error"
	}
	return "invalid_request_error"
}

// MarshalJSON writes the error's object, that which stands under "error".
func (p *problem) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    *string `json:"code"`
	}{p.message, p.kind(), orNull(p.param), orNull(p.code)})
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// bad is an error about a field of the request.
func bad(param, format string, args ...any) *problem {
	return &problem{status: http.StatusBadRequest, message: fmt.Sprintf(format, args...), param: param}
}

// missing is an error about a field that is not there.
func missing(param, format string, args ...any) *problem {
	p := bad(param, format, args...)
	p.code = "missing_required_parameter"
	return p
}

// params are the fields of requests that set what errors name.
var params = map[fault.Field]string{
	"batch": "max_tokens", "beams": "guidance.beams", "beta": "guidance.beta", "block": "guidance.block", "candidates": "guidance.candidates", "ctx": "max_tokens",
	"frequency_penalty": "frequency_penalty", "grammar": "grammar", "json_schema": "response_format", "logit_bias": "logit_bias", "min_tokens": "min_tokens", "reasoning_budget": "reasoning_budget", "max_tokens": "max_tokens", "method": "guidance.method", "min_p": "min_p", "parallel": "guidance.beams",
	"parse_content": "messages", "presence_penalty": "presence_penalty", "prompt": "prompt", "prompts": "messages", "repeat_penalty": "repeat_penalty", "rerank": "guidance.reward",
	"samples": "guidance.samples", "seed": "seed", "stop": "stop", "temp": "temperature", "top_k": "top_k", "top_p": "top_p",
	"value_head": "guidance.value_head", "value_reward": "guidance.reward",
}

// servers are the settings that only whoever runs the server can change.
var servers = map[fault.Field]string{"batch": "the server's batch size", "ctx": "the server's context", "parallel": "the server's number of sequences", "parse_content": "the server's parsing of content"}

// param is what a setting is called in requests.
func param(f fault.Field) string {
	if name, ok := servers[f]; ok {
		return name
	}
	if name, ok := params[f]; ok {
		return name
	}
	return string(f)
}

// problemOf is an error of the rooms below: the request's fault where it names one of its fields, or is
// about the texts that it brought, else the server's.
func problemOf(err error) *problem {
	var p *problem
	var f *fault.Error
	var l *llama.Error
	var j *jinja.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &f):
		if name, ok := params[f.Field]; ok {
			out := bad(name, "%s", f.Spelled(param))
			if f.Field == "ctx" {
				out.code = "context_length_exceeded"
			}
			return out
		}
	case errors.As(err, &j) && j.Raised:
		return bad("messages", "%s", err)
	case errors.As(err, &l) && (l.Op == "tokenize" || l.Op == "chat template" || l.Op == "grammar"):
		return bad("", "%s", err)
	}
	return &problem{status: http.StatusInternalServerError, message: "the server could not answer: its log says why"}
}
