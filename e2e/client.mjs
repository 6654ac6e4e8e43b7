// The official client for Node against ivo serve, unmodified: node client.mjs URL MODEL.
import OpenAI from "openai";
import { VERSION } from "openai/version";

const [url, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: url + "/v1", apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "i found a lamp in the garden today. it was red." }];
let checked = 0;
const check = (what, ok, got) => {
  checked++;
  if (!ok) throw new Error(`${what}: ${JSON.stringify(got)}`);
};

const ids = (await client.models.list()).data.map((m) => m.id);
check("models", ids.includes(model), ids);
const chat = await client.chat.completions.create({ model, messages, max_tokens: 12, seed: 3 });
const text = chat.choices[0].message.content;
check("chat", text && chat.usage.completion_tokens > 0 && chat.ivo.method, chat);
let said = "";
for await (const chunk of await client.chat.completions.create({ model, messages, max_tokens: 12, seed: 3, stream: true })) {
  said += chunk.choices[0]?.delta?.content ?? "";
}
check("stream", said === text, [said, text]);
const helper = client.chat.completions.stream({ model, messages, max_tokens: 12, seed: 3 });
check("the client's own accumulator", (await helper.finalContent()) === text);
const many = await client.chat.completions.create({ model, messages, max_tokens: 12, seed: 3, n: 2 });
check("n", many.choices.length === 2, many);
const logprobs = (await client.chat.completions.create({ model, messages, max_tokens: 4, logprobs: true, top_logprobs: 2 })).choices[0].logprobs.content;
check("logprobs", logprobs.length > 0 && logprobs.every((t) => t.logprob <= 1e-3 && Array.isArray(t.bytes) && t.top_logprobs.length === 2), logprobs);
const preset = await client.chat.completions.create({ model: model + "@best-of-4", messages, max_tokens: 8 });
check("preset", preset.ivo.method === "best-of-n", preset);

const schema = { type: "object", properties: { colour: { type: "string", enum: ["red", "blue"] }, count: { type: "integer" } }, required: ["colour", "count"], additionalProperties: false };
const formed = await client.chat.completions.create({ model, messages, max_tokens: 60, seed: 3, response_format: { type: "json_schema", json_schema: { name: "answer", schema, strict: true } } });
check("json_schema", ["red", "blue"].includes(JSON.parse(formed.choices[0].message.content).colour), formed);
const called = await client.chat.completions.create({ model, messages, max_tokens: 200, seed: 3, tools: [{ type: "function", function: { name: "colour", parameters: schema } }], tool_choice: "required" });
check("tools", called.choices[0].message.tool_calls[0].function.name === "colour", called);

const response = await client.responses.create({ model, input: "i found a lamp", max_output_tokens: 12 });
check("responses", response.output_text.length > 0, response);
let last;
said = "";
for await (const event of await client.responses.create({ model, input: "i found a lamp", max_output_tokens: 12, stream: true })) {
  if (event.type === "response.output_text.delta") said += event.delta;
  last = event;
}
check("responses, streamed", ["response.completed", "response.incomplete"].includes(last.type) && last.response.output[0].content[0].text === said, last);
const vectors = await client.embeddings.create({ model, input: ["a lamp", "a dog"] });
check("embeddings", vectors.data.length === 2 && Math.abs(vectors.data[0].embedding.reduce((s, x) => s + x * x, 0) - 1) < 1e-3, vectors);
const completion = await client.completions.create({ model, prompt: "i found a lamp", max_tokens: 6 });
check("completions", completion.choices[0].text.length > 0, completion);

for (const [what, kind, call] of [
  ["an unknown model", OpenAI.NotFoundError, () => client.chat.completions.create({ model: "other", messages })],
  ["a wrong temperature", OpenAI.BadRequestError, () => client.chat.completions.create({ model, messages, temperature: -1 })],
]) {
  try {
    await call();
  } catch (e) {
    check(what, e instanceof kind && e.error.message && "param" in e.error, e);
    continue;
  }
  throw new Error(what + " was accepted");
}
console.log(`openai ${VERSION} for Node: ${checked} checks`);
