package jinja

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The templates below are written for this test: each makes the documented prompt format of a
// family with the constructs that the family's own template uses. What is expected was derived
// by hand from the format.

var chats = map[string][]Message{
	"user":        {{"user", "Hi", nil}},
	"system":      {{"system", " Be brief. ", nil}, {"user", "Hi", nil}},
	"turns":       {{"user", "Hi", nil}, {"assistant", "Hello!", nil}, {"user", " Bye\n", nil}},
	"all":         {{"system", "Be brief.", nil}, {"user", "Hi", nil}, {"assistant", "Hello!", nil}, {"user", "Bye", nil}},
	"answered":    {{"user", "Hi", nil}, {"assistant", "Hello!", nil}},
	"thought":     {{"user", "Hi", nil}, {"assistant", "<think>\nhm\n</think>\n\nHello!", nil}, {"user", "Bye", nil}},
	"last":        {{"user", "Hi", nil}, {"assistant", "<think>\nhm\n</think>\n\nHello!", nil}},
	"wrong":       {{"user", "Hi", nil}, {"user", "Bye", nil}},
	"assistant":   {{"assistant", "Hello!", nil}},
	"late system": {{"user", "Hi", nil}, {"system", "Be brief.", nil}},
}

type chatCase struct {
	chat  string
	open  bool // the generation prompt
	extra map[string]any
	want  string
	err   string // of a template that raises
}

var families = []struct {
	name, template string
	cases          []chatCase
}{
	{"ChatML", `
{%- for m in messages %}
    {%- if loop.first and m.role != 'system' %}
        {{- '<|im_start|>system\nYou help.<|im_end|>\n' }}
    {%- endif %}
    {{- '<|im_start|>' ~ m['role'] ~ '\n' ~ m['content'] ~ '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
`, []chatCase{
		{chat: "user", open: true, want: "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
		{chat: "user", want: "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"},
		{chat: "all", open: true, want: "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"},
	}},
	{"Llama 3", `
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "1 Jan 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}

{#- The system message goes first. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\n\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\n\n" }}
{{- system + "<|eot_id|>" }}

{%- for message in messages %}
    {%- if not (message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
`, []chatCase{
		{chat: "system", open: true, want: "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 05 Jul 2024\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
		{chat: "turns", want: "<s><|start_header_id|>system<|end_header_id|>\n\nToday Date: 05 Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"},
		{chat: "user", extra: map[string]any{"date_string": "today", "tools": []any{}}, want: "<s><|start_header_id|>system<|end_header_id|>\n\nEnvironment: ipython\nToday Date: today\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"},
	}},
	{"Qwen 2.5", `
{%- if tools %}
    {{- '<|im_start|>system\n# Tools' }}
    {%- for tool in tools %}
        {{- "\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- '<|im_end|>\n' }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\n' + messages[0]['content'] + '<|im_end|>\n' }}
    {%- else %}
        {{- '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant" and not message.tool_calls) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
`, []chatCase{
		{chat: "user", open: true, want: "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
		{chat: "all", want: "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"},
		{chat: "late system", want: "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>system\nBe brief.<|im_end|>\n"},
		{chat: "user", extra: map[string]any{"tools": []any{map[string]any{"type": "function", "name": "f", "n": 1}}}, want: "<|im_start|>system\n# Tools\n{\"n\": 1, \"name\": \"f\", \"type\": \"function\"}<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"},
	}},
	{"Qwen 3", `
{%- if messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- set ns = namespace(searching=true, last_query=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.searching and message.role == "user" and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.searching = false %}
        {%- set ns.last_query = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == "user" or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- elif message.role == "assistant" %}
        {%- set content = message.content %}
        {%- set thought = '' %}
        {%- if message.reasoning_content is defined and message.reasoning_content is not none %}
            {%- set thought = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set thought = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query and thought %}
            {%- set content = '<think>\n' + thought.strip('\n') + '\n</think>\n\n' + content %}
        {%- endif %}
        {{- '<|im_start|>assistant\n' + content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
`, []chatCase{
		{chat: "all", open: true, want: "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n"},
		{chat: "user", open: true, extra: map[string]any{"enable_thinking": false}, want: "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"},
		{chat: "user", open: true, extra: map[string]any{"enable_thinking": true}, want: "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"},
		// Thoughts of earlier turns are dropped, those after the last question stay.
		{chat: "thought", want: "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"},
		{chat: "last", want: "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\nHello!<|im_end|>\n"},
	}},
	{"Gemma 2", `{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('No system role') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '
' + message['content'] | trim + '<end_of_turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
'}}{% endif %}`, []chatCase{
		{chat: "turns", open: true, want: "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"},
		{chat: "user", want: "<s><start_of_turn>user\nHi<end_of_turn>\n"},
		{chat: "system", err: "No system role"},
		{chat: "wrong", err: "Roles must alternate"},
		{chat: "assistant", err: "Roles must alternate"},
	}},
	{"Gemma 3", `{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set prefix = messages[0]['content'] + '

' -%}
    {%- else -%}
        {%- set prefix = messages[0]['content'][0]['text'] + '

' -%}
    {%- endif -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set prefix = "" -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception("Roles must alternate") }}
    {%- endif -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '
' + (prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {{ item['text'] | trim if item['type'] == 'text' else '<start_of_image>' }}
        {%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>
' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model
'}}
{%- endif -%}
`, []chatCase{
		{chat: "all", open: true, want: "<s><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"},
		{chat: "turns", want: "<s><start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n"},
		{chat: "wrong", err: "Roles must alternate"},
	}},
	// The system message goes into the first user message.
	{"Mistral v0.3", `{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in turns %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the system message, roles must alternate') }}
    {%- endif %}
    {%- if message['role'] == 'user' %}
        {%- if loop.first and system_message is defined %}
            {{- '[INST] ' + system_message + '\n\n' + message['content'] + '[/INST]' }}
        {%- else %}
            {{- '[INST] ' + message['content'] + '[/INST]' }}
        {%- endif %}
    {%- elif message['role'] == 'assistant' %}
        {{- ' ' + message['content'] + eos_token }}
    {%- else %}
        {{- raise_exception('Only user and assistant roles') }}
    {%- endif %}
{%- endfor %}
`, []chatCase{
		{chat: "all", open: true, want: "<s>[INST] Be brief.\n\nHi[/INST] Hello!</s>[INST] Bye[/INST]"},
		{chat: "answered", want: "<s>[INST] Hi[/INST] Hello!</s>"},
		{chat: "wrong", err: "After the system message, roles must alternate"},
		{chat: "late system", err: "Only user and assistant roles"},
	}},
	// The system message goes into the last user message.
	{"Mistral Tekken", `{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set turns = messages[1:] %}
{%- else %}
    {%- set turns = messages %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{%- set user_messages = turns | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in turns %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("Roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in turns %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS]" + (tools|tojson) + "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST]" + system_message + "\n\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST]" + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- message["content"] + eos_token}}
    {%- endif %}
{%- endfor %}
`, []chatCase{
		{chat: "all", open: true, want: "<s>[INST]Hi[/INST]Hello!</s>[INST]Be brief.\n\nBye[/INST]"},
		{chat: "turns", extra: map[string]any{"tools": []string{"t"}}, want: "<s>[INST]Hi[/INST]Hello!</s>[AVAILABLE_TOOLS][\"t\"][/AVAILABLE_TOOLS][INST] Bye\n[/INST]"},
		{chat: "assistant", err: "Roles must alternate"},
	}},
	{"Phi 3", `{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'user' %}{{'<|user|>
' + message['content'] + '<|end|>
'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>
' + message['content'] + '<|end|>
'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>
' }}{% else %}{{ eos_token }}{% endif %}`, []chatCase{
		{chat: "all", open: true, want: "<|system|>\nBe brief.<|end|>\n<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n"},
		{chat: "answered", want: "<|user|>\nHi<|end|>\n<|assistant|>\nHello!<|end|>\n</s>"},
	}},
	{"Phi 4", `{% for m in messages %}
{% if (m['role'] in ['system', 'user', 'assistant']) and m.content -%}
{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}
{%- endif %}
{% endfor %}
{%- if add_generation_prompt -%}
  {{ '<|im_start|>assistant<|im_sep|>' }}
{%- endif -%}
`, []chatCase{
		{chat: "all", open: true, want: "<|im_start|>system<|im_sep|>Be brief.<|im_end|><|im_start|>user<|im_sep|>Hi<|im_end|><|im_start|>assistant<|im_sep|>Hello!<|im_end|><|im_start|>user<|im_sep|>Bye<|im_end|><|im_start|>assistant<|im_sep|>"},
		{chat: "user", want: "<|im_start|>user<|im_sep|>Hi<|im_end|>"},
	}},
	{"DeepSeek R1", `{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(system='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system = ns.system + message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system}}{%- for message in messages %}{%- if message['role'] == 'user' %}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] is not none %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}{%- endfor -%}{% if add_generation_prompt %}{{'<｜Assistant｜><think>\n'}}{% endif %}`, []chatCase{
		{chat: "all", open: true, want: "<s>Be brief.<｜User｜>Hi<｜Assistant｜>Hello!<｜end▁of▁sentence｜><｜User｜>Bye<｜Assistant｜><think>\n"},
		{chat: "last", want: "<s><｜User｜>Hi<｜Assistant｜>\n\nHello!<｜end▁of▁sentence｜>"},
	}},
	{"Granite", `{%- if messages[0]['role'] == 'system' %}
     {%- set system = messages[0]['content'] %}
     {%- set turns = messages[1:] %}
 {%- else %}
     {%- set system = "Today's Date: " + strftime_now('%B %d, %Y') + "." %}
     {%- if 'citations' in controls and documents %}
         {%- set system = system + ' Cite.' %}
     {%- endif %}
     {%- set turns = messages %}
 {%- endif %}
 {{- '<|start_of_role|>system<|end_of_role|>' + system + '<|end_of_text|>
' }}
 {%- for message in turns %}
     {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' + message['content'] + '<|end_of_text|>
' }}
     {%- if loop.last and add_generation_prompt %}
         {{- '<|start_of_role|>assistant' }}
             {%- if controls %}
                 {{- ' ' + controls | tojson()}}
             {%- endif %}
         {{- '<|end_of_role|>' }}
     {%- endif %}
 {%- endfor %}
`, []chatCase{
		{chat: "user", open: true, want: "<|start_of_role|>system<|end_of_role|>Today's Date: July 05, 2024.<|end_of_text|>\n<|start_of_role|>user<|end_of_role|>Hi<|end_of_text|>\n<|start_of_role|>assistant<|end_of_role|>"},
		{chat: "system", open: true, extra: map[string]any{"controls": map[string]any{"length": "long"}}, want: "<|start_of_role|>system<|end_of_role|> Be brief. <|end_of_text|>\n<|start_of_role|>user<|end_of_role|>Hi<|end_of_text|>\n<|start_of_role|>assistant {\"length\": \"long\"}<|end_of_role|>"},
	}},
	{"Command R", `{{ bos_token }}{%- macro turn(role, text) -%}
<|START_OF_TURN_TOKEN|><|{{ role|upper }}_TOKEN|>{{ text }}<|END_OF_TURN_TOKEN|>
{%- endmacro %}
{%- if messages and messages[0]['role']|lower == 'system' %}{%- set preamble = messages[0]['content'] %}{% endif %}
{{ turn('system', '# Preamble' ~ ('\n' ~ preamble|trim if preamble else '')) }}
{%- for message in messages %}
    {%- if message.role == 'system' and loop.first and preamble %}{% continue %}{% endif %}
    {%- if message.role == 'user' or message.role == 'system' %}
{{ turn(message.role, message.content) }}
    {%- elif message.role == 'assistant' %}
{{ turn(text=message.content, role='chatbot') }}
    {%- else %}
        {%- break %}
    {%- endif %}
{%- endfor %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>`, []chatCase{
		{chat: "system", want: "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|># Preamble\nBe brief.<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
		{chat: "answered", want: "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|># Preamble<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Hello!<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>"},
	}},
}

func TestFamilies(t *testing.T) {
	for _, f := range families {
		for _, c := range f.cases {
			name := f.name + "/" + c.chat
			got, err := Render(f.template, Params{
				Messages: chats[c.chat], AddGenerationPrompt: c.open, BOS: "<s>", EOS: "</s>",
				Now: time.Date(2024, 7, 5, 9, 8, 7, 0, time.UTC), Extra: c.extra,
			})
			if c.err == "" {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				} else if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("%s (-want +got):\n%s", name, diff)
				}
				continue
			}
			var e *Error
			if !errors.As(err, &e) || !e.Raised || e.Msg != c.err || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: got %q, %v; want it to raise %q", name, got, err, c.err)
			}
		}
	}
}
