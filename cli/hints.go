package cli

import (
	"strings"

	"github.com/ivo-decoding/ivo/internal/fault"
)

// spellings are what the settings that errors name are called on the command line, those that are no
// flags of their own names.
var spellings = map[fault.Field]string{
	"architectures": "ivo doctor --architectures", "batch": "-b", "ctx": "-c", "file": "-f", "fine_tune": "ivo train --fine-tune", "gpu_layers": "-ngl", "hf_repo": "-hf", "hf_token": "-hft",
	"max_tokens": "-n", "model": "-m", "model_url": "-mu", "one_pass": "ivo train --one-pass", "override": "--override-tokenizer", "prompt": "-p",
	"seed": "-s", "stop": "-r", "system_prompt": "-sys", "template": "--chat-template", "template_kwargs": "--chat-template-kwargs", "threads": "-t", "ubatch": "-ub",
}

func init() {
	fault.Name = func(f fault.Field) string {
		if name, ok := spellings[f]; ok {
			return name
		}
		return "--" + strings.ReplaceAll(string(f), "_", "-")
	}
}
