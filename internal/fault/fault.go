// Package fault is how the rooms below the command line say what cannot be done and what to
// do about it. They know settings, not flags: a hint names a setting in braces, as in "raise
// {ctx}, or shorten the prompt", and whoever talks to people says what it is called there:
// a flag on the command line, a parameter of a request.
package fault

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Field is a setting that people can change.
type Field string

// words name the settings where nobody else does.
var words = map[Field]string{
	"architectures": "the list of architectures", "atoms": "the number of returns", "batch": "the batch size", "beams": "the number of beams", "beta": "beta", "block": "the block length", "chat": "the chat form",
	"candidates": "the number of candidates", "check_tensors": "the check of weights", "collect_beams": "the number of collecting beams",
	"ctx": "the context size", "epochs": "the number of epochs", "eval_prompts": "the evaluation prompts", "file": "the prompt file", "gpu_layers": "the number of GPU layers",
	"hf_repo": "the repository", "hf_token": "the access token", "hidden": "the number of hidden units", "layers": "the layers", "least_p": "the least probability",
	"lr": "the learning rate", "max_tokens": "the response length", "method": "the method", "min_p": "min-p", "model": "the model", "models": "the folder of models", "model_url": "the model's address",
	"offline": "offline mode", "one_pass": "one-pass training", "out": "the output path", "override": "the tokenizer's override", "parallel": "the number of sequences", "parse_content": "parsing of content", "prompt": "the prompt",
	"pairs": "the pairs", "prompts": "the prompts", "proposal": "the proposal", "proposal_beta": "the proposal's beta", "presence_penalty": "the presence penalty", "quantile": "the quantile", "repeat_penalty": "the repeat penalty", "rerank": "the reward that chooses", "rest": "the value of the other tokens", "reward": "the reward", "reward_timeout": "the time for an answer", "round_prompts": "the prompts a round", "target_kl": "the target KL", "value_reward": "the reward in the place of a value function", "rollouts": "the number of rollouts", "rollout_tokens": "the length of rollouts", "rounds": "the number of rounds", "redo": "redoing what changed", "scores": "the scores' name", "states": "the files of states",
	"samples": "the number of samples", "seed": "the seed", "shard": "the prompts a shard", "skip_pairs": "skipping pairs", "skip_unscored": "skipping what has no score", "guide": "what is guided", "reasoning_budget": "the tokens of thought", "stop": "the stop texts", "strict": "strictness", "system_prompt": "the system prompt",
	"template": "the chat template", "template_kwargs": "the template's arguments", "temp": "the temperature", "threads": "the number of threads", "top_k": "top-k", "top_p": "top-p", "ubatch": "the micro-batch size",
	"value_beta": "the soft value's beta", "value_within": "the bound of values", "value_head": "the value head", "value_model": "the value model",
	"frequency_penalty": "the frequency penalty", "response": "the response", "response_file": "the response's file",
	"grammar": "the grammar", "json_schema": "the JSON schema", "logit_bias": "the logit bias", "ignore_eos": "ignoring the end", "min_tokens": "the least length of a response", "n_probs": "the number of likeliest tokens",
	"lora": "the LoRA adapter", "control_vector": "the control vector",
	"fine_tune": "fine-tuning", "allow_commands": "allowing commands",
	"api_key_file": "the file of keys", "device": "the devices", "rpc": "the RPC servers", "host": "the host", "listen": "the address to listen at", "nats": "the address of the server", "port": "the port", "server": "the server", "store": "what the run's server may keep", "presets": "the presets",
	"run": "the run", "runs": "the folder of runs", "validation": "the validation prompts", "work": "the working folder",
}

// Fields are all settings that hints may name.
func Fields() []Field { return slices.Sorted(maps.Keys(words)) }

// Name says what a setting is called. A program sets it once, before anything can fail.
var Name = func(f Field) string { return words[f] }

// TooLong is the hint about a text that does not fit.
const TooLong = "raise {ctx}, lower {max_tokens}, or shorten the prompt"

// Error is something that cannot be done.
type Error struct {
	Op    string // what was tried, such as "decode"; may be empty
	Field Field  // the setting that is at fault, if it is one
	Limit any    // what the setting may be at most, or has to be; nil where that is not known
	Err   error  // what is wrong
	Hint  string // what to do about it, with settings in braces
}

// New makes an error about a setting. format and args say what is wrong; the hint what to do.
func New(op string, field Field, limit any, hint, format string, args ...any) *Error {
	return &Error{Op: op, Field: field, Limit: limit, Err: fmt.Errorf(format, args...), Hint: hint}
}

func (e *Error) Error() string { return e.Spelled(Name) }

// Spelled is the error's text where settings have other names than [Name] gives them.
func (e *Error) Spelled(name func(Field) string) string {
	s := e.Err.Error()
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Hint != "" {
		s += " (" + spell(e.Hint, name) + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Spell puts the names of settings into a hint.
func Spell(hint string) string { return spell(hint, Name) }

func spell(hint string, name func(Field) string) string {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(hint, "{")
		field, after, closed := strings.Cut(rest, "}")
		if _, known := words[Field(field)]; !ok || !closed || !known {
			if !ok {
				b.WriteString(hint)
				return b.String()
			}
			b.WriteString(before + "{")
			hint = rest
			continue
		}
		b.WriteString(before + name(Field(field)))
		hint = after
	}
}
