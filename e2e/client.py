"""The official Python client against ivo serve, unmodified: python client.py URL MODEL."""

import json
import sys

import openai

url, model = sys.argv[1:3]
client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
ask = [{"role": "user", "content": "i found a lamp in the garden today. it was red."}]
checked = []


def check(what, ok, got=None):
    checked.append(what)
    if not ok:
        sys.exit(f"{what}: {got!r}")


models = [m.id for m in client.models.list()]
check("models", model in models, models)
check("one model", client.models.retrieve(model).id == model)

# chat, and the same streamed
chat = client.chat.completions.create(model=model, messages=ask, max_tokens=12, seed=3)
text = chat.choices[0].message.content
check("chat", text and chat.usage.completion_tokens > 0 and chat.choices[0].finish_reason in ("stop", "length"), chat)
check("ivo", chat.ivo["method"] and chat.ivo["decoded"] >= 0 and chat.usage.decoded_tokens >= 0, chat)
said, usage = "", None
for chunk in client.chat.completions.create(model=model, messages=ask, max_tokens=12, seed=3, stream=True, stream_options={"include_usage": True}):
    usage = chunk.usage or usage
    for choice in chunk.choices:
        said += choice.delta.content or ""
check("stream", said == text, (said, text))
check("usage of a stream", usage and usage.completion_tokens == chat.usage.completion_tokens, usage)
with client.chat.completions.stream(model=model, messages=ask, max_tokens=12, seed=3) as stream:
    parts = [event.delta for event in stream if event.type == "content.delta"]
    check("the client's own accumulator", "".join(parts) == text, parts)

many = client.chat.completions.create(model=model, messages=ask, max_tokens=12, seed=3, n=3)
check("n", len(many.choices) == 3 and many.choices[0].message.content == text, many)

logprobs = client.chat.completions.create(model=model, messages=ask, max_tokens=6, seed=3, logprobs=True, top_logprobs=2).choices[0].logprobs.content
check("logprobs", logprobs and all(t.logprob <= 1e-3 and bytes(t.bytes) is not None for t in logprobs), logprobs)
check("top_logprobs", all(len(t.top_logprobs) == 2 and t.top_logprobs[0].logprob >= t.top_logprobs[1].logprob for t in logprobs), logprobs)

guided = client.chat.completions.create(model=model, messages=ask, max_tokens=8, seed=3, extra_body={"guidance": {"method": "best-of-n", "samples": 3, "reward": "default"}})
check("guidance", guided.ivo["method"] == "best-of-n" and guided.usage.decoded_tokens > guided.usage.completion_tokens, guided)
preset = client.chat.completions.create(model=model + "@best-of-4", messages=ask, max_tokens=8, seed=3)
check("preset", preset.ivo["method"] == "best-of-n", preset)

# answers in a form
schema = {"type": "object", "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}, "count": {"type": "integer"}}, "required": ["colour", "count"], "additionalProperties": False}
formed = client.chat.completions.create(
    model=model, messages=ask, max_tokens=60, temperature=0.7, seed=3,
    response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}})
answer = json.loads(formed.choices[0].message.content)
check("json_schema", answer["colour"] in ("red", "blue") and isinstance(answer["count"], int), formed)
tools = [{"type": "function", "function": {"name": "colour", "parameters": schema}}]
called = client.chat.completions.create(model=model, messages=ask, tools=tools, tool_choice="required", max_tokens=200, seed=3)
call = called.choices[0].message.tool_calls[0]
check("tools", call.function.name == "colour" and json.loads(call.function.arguments)["colour"] in ("red", "blue"), called)
back = ask + [called.choices[0].message.model_dump(exclude_none=True), {"role": "tool", "tool_call_id": call.id, "content": "noted"}]
check("a call in the conversation", client.chat.completions.create(model=model, messages=back, tools=tools, max_tokens=8).choices[0].finish_reason)

# the other endpoints
completion = client.completions.create(model=model, prompt="i found a lamp", max_tokens=6, logprobs=1, echo=True)
check("completions", completion.choices[0].text.startswith("i found a lamp"), completion)
response = client.responses.create(model=model, input="i found a lamp", max_output_tokens=12)
check("responses", response.output_text and response.usage.output_tokens > 0, response)
said, last = "", None
for event in client.responses.create(model=model, input="i found a lamp", max_output_tokens=12, stream=True):
    if event.type == "response.output_text.delta":
        said += event.delta
    last = event
check("responses, streamed", last.type in ("response.completed", "response.incomplete") and last.response.output_text == said, last)
vectors = client.embeddings.create(model=model, input=["a lamp", "a dog"])
check("embeddings", len(vectors.data) == 2 and abs(sum(x * x for x in vectors.data[0].embedding) - 1) < 1e-3, vectors)

# errors are the client's own
for what, error, call in [
    ("an unknown model", openai.NotFoundError, lambda: client.chat.completions.create(model="other", messages=ask)),
    ("a wrong temperature", openai.BadRequestError, lambda: client.chat.completions.create(model=model, messages=ask, temperature=-1)),
    ("no such response", openai.BadRequestError, lambda: client.responses.create(model=model, input="a", previous_response_id="resp_1")),
    ("a reward of the client's own", openai.BadRequestError, lambda: client.chat.completions.create(model=model, messages=ask, extra_body={"guidance": {"reward": "cmd:id"}})),
]:
    try:
        call()
        sys.exit(what + " was accepted")
    except error as e:
        check(what, e.body and e.body["message"] and "param" in e.body, e)
print(f"openai {openai.__version__} for Python: {len(checked)} checks")
