package cli

import "github.com/ivo-decoding/ivo/internal/fault"

// spellings are what the settings that errors name are called on the command line.
var spellings = map[fault.Field]string{
	"atoms": "--atoms", "batch": "-b", "beams": "--beams", "beta": "--beta", "block": "--block",
	"chat": "--chat", "response_file": "--response-file",
	"candidates": "--candidates", "check_tensors": "--check-tensors", "collect_beams": "--collect-beams", "ctx": "-c", "epochs": "--epochs",
	"eval_prompts": "--eval-prompts", "file": "-f", "fine_tune": "ivo train --fine-tune", "frequency_penalty": "--frequency-penalty",
	"gpu_layers": "-ngl", "hf_repo": "-hf", "hf_token": "-hft", "hidden": "--hidden", "layers": "--layers", "least_p": "--least-p", "lr": "--lr",
	"max_tokens": "-n", "method": "--method", "min_p": "--min-p", "model": "-m", "model_url": "-mu", "offline": "--offline",
	"one_pass": "ivo train --one-pass", "out": "--out", "override": "--override-tokenizer", "parallel": "--parallel", "parse_content": "--parse-content",
	"presence_penalty": "--presence-penalty", "prompt": "-p", "prompts": "--prompts", "proposal": "--proposal", "proposal_beta": "--proposal-beta", "quantile": "--quantile", "repeat_penalty": "--repeat-penalty",
	"rest": "--rest", "reward": "--reward", "reward_timeout": "--reward-timeout", "round_prompts": "--round-prompts", "rounds": "--rounds", "redo": "--redo", "scores": "--scores", "states": "--states", "samples": "--samples", "seed": "-s",
	"shard": "--shard", "skip_unscored": "--skip-unscored", "stop": "-r", "strict": "--strict", "system_prompt": "-sys", "temp": "--temp", "template": "--chat-template",
	"template_kwargs": "--chat-template-kwargs", "threads": "-t", "top_k": "--top-k", "top_p": "--top-p", "ubatch": "-ub",
	"value_beta": "--value-beta", "value_head": "--value-head", "value_model": "--value-model",
}

func init() {
	fault.Name = func(f fault.Field) string { return spellings[f] }
}
