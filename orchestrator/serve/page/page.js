// The page: base and guided answers side by side, as they come. It keeps the conversation in the page alone.
import { $, events, post, read } from "./api.js";
import { Answer } from "./answer.js";
import * as machine from "./machine.js";
import * as search from "./search.js";

let props = null; // what the server is
let range = [0, 1]; // what most values lie between
let turns = []; // the conversation
let running = null; // that of the answers under way

const sides = { base: new Answer("base", () => range), guided: new Answer("guided", () => range) };
for (const side of Object.values(sides)) side.end();

// takes says which methods look at which slider.
const takes = {
  beta: ["tokenwise", "greedy", "block-sampling", "one-pass"],
  beams: ["block-beam"],
  block: ["block-sampling", "block-best-of-k", "block-beam"],
};

async function begin() {
  try {
    props = await read("props");
  } catch (err) {
    if (err.status !== 401) throw err;
    $("unlock").hidden = false;
    say($("key").value ? "The server does not know this key." : "This server wants a key.", Boolean($("key").value));
    $("key").focus();
    return;
  }
  $("unlock").hidden = true;
  const ivo = props.ivo;
  $("about").textContent = `${props.model_alias}, ${(ivo.parameters / 1e6).toFixed(0)} million parameters`;
  const heads = Object.keys(ivo.value_heads), rewards = ivo.rewards ?? [];
  $("method").replaceChildren(...ivo.methods.map((m) => new Option(m, m)));
  const guides = heads.length ? "block-beam" : rewards.length ? "best-of-n" : ivo.method;
  $("method").value = ivo.method === "sample" ? guides : ivo.method;
  $("beta").value = ivo.beta;
  $("beams").value = Math.min(ivo.beams, 6);
  $("block").value = Math.min(ivo.block, 32);
  $("reward").replaceChildren(...["", ...rewards].map((r) => new Option(r ? kind(r) : "none", r)));
  $("reward").value = ivo.reward || "";
  if (heads.length) {
    range = ivo.value_heads[ivo.value_head] ?? ivo.value_heads[heads[0]];
    $("low").textContent = range[0].toFixed(2);
    $("high").textContent = range[1].toFixed(2);
    $("legend").hidden = false;
  }
  offer();
  document.querySelectorAll("#settings output").forEach(show);
  await machine.begin(take);
  say("");
}

// kind is what people call a reward: that of the command line has no name of its own.
const kind = (r) => (r === "default" ? props.ivo.reward_kinds[r] : r);

const show = (output) => (output.value = $(output.htmlFor.value).value);

// offer leaves those sliders that the method looks at.
function offer() {
  for (const [id, methods] of Object.entries(takes)) $(id).disabled = !methods.includes($("method").value);
}

// say tells how it goes; more is for those alone who do not see the page.
function say(text, error = false, more = "") {
  const unseen = document.createElement("span");
  unseen.className = "unseen";
  unseen.textContent = " " + more;
  $("status").replaceChildren(text, ...(more ? [unseen] : []));
  $("status").classList.toggle("error", error);
}

// guidance is what the sliders say.
function guidance() {
  const g = { method: $("method").value, values: true, tree: true };
  for (const id of Object.keys(takes)) if (!$(id).disabled) g[id] = Number($(id).value);
  if (!Object.keys(props.ivo.value_heads).length && props.ivo.rewards?.length) g.reward = props.ivo.reward || props.ivo.rewards[0];
  return g;
}

// answer streams one answer into a side, and gives its text and what to say of it.
async function answer(name, how, messages, seed, signal) {
  const side = sides[name];
  side.begin();
  try {
    const begun = performance.now();
    const res = await post("v1/chat/completions", {
      model: props.model_alias, messages, seed, max_tokens: Number($("tokens").value), temperature: Number($("temperature").value),
      stream: true, stream_options: { include_usage: true }, logprobs: true, guidance: how,
    }, signal);
    let said = "", ivo = null, usage = null, first = 0;
    for await (const chunk of events(res.body)) {
      if (chunk.error) throw new Error(chunk.error.message);
      usage = chunk.usage ?? usage;
      for (const c of chunk.choices) {
        if (c.branches) search.grow(c.branches);
        const text = (c.delta.reasoning_content ?? "") + (c.delta.content ?? "");
        if (text) {
          first ||= performance.now() - begun;
          side.text(text);
          said += c.delta.content ?? "";
        }
        if (c.logprobs?.content?.length) side.tokens(c.logprobs.content, c.ivo?.values);
        if (c.finish_reason) ivo = c.ivo;
      }
    }
    side.end(ivo?.values);
    const facts = [`${usage.completion_tokens} tokens, ${usage.decoded_tokens} decoded`];
    if (typeof ivo.value === "number") facts.push(`value ${ivo.value.toFixed(3)}`);
    if (typeof ivo.kl === "number" && ivo.kl) facts.push(`KL ${ivo.kl_kind === "bound" ? "at most " : ""}${ivo.kl.toFixed(2)} nats`);
    facts.push(`${((performance.now() - begun) / 1000).toFixed(1)} s, first text after ${(first / 1000).toFixed(1)} s`);
    side.facts.textContent = facts.join(" · ");
    return said;
  } catch (err) {
    side.end();
    throw err;
  }
}

// score adds what the chosen reward says of both answers.
async function score(messages, responses) {
  const reward = $("reward").value;
  if (!reward) return;
  const { scores } = await (await post("score", { reward, messages, responses })).json();
  Object.values(sides).forEach((side, i) => (side.facts.textContent += ` · ${kind(reward)} ${scores[i] === null ? "none" : scores[i].toFixed(3)}`));
}

// tell shows the conversation.
function tell() {
  $("conversation").replaceChildren(...turns.map(({ role, content }) => {
    const turn = document.createElement("p");
    turn.className = "turn " + role;
    const who = document.createElement("span");
    who.className = "unseen";
    who.textContent = role + ": ";
    turn.append(who, content);
    return turn;
  }));
}

// take begins a conversation with a prompt of the machine's.
function take(messages) {
  if (running) return;
  const asked = messages.at(-1)?.role === "user";
  turns = asked ? messages.slice(0, -1) : messages;
  tell();
  $("message").value = asked ? messages.at(-1).content : "";
  $("message").focus();
}

$("ask").addEventListener("submit", async (e) => {
  e.preventDefault();
  if (running || !props) return;
  const keep = document.querySelector('input[name="keep"]:checked').value;
  const messages = [...turns, { role: "user", content: $("message").value }];
  const seed = $("seed").value === "" ? Math.floor(Math.random() * 2 ** 31) : Number($("seed").value);
  running = new AbortController();
  $("send").disabled = true;
  $("stop").disabled = false;
  search.begin();
  say("Searching…");
  const values = Object.keys(props.ivo.value_heads).length > 0;
  try {
    const [base, guided] = await Promise.all([
      answer("base", { method: "sample", values }, messages, seed, running.signal),
      answer("guided", guidance(), messages, seed, running.signal),
    ]);
    await score(messages, [base, guided]);
    turns = [...messages, { role: "assistant", content: keep === "base" ? base : guided }];
    tell();
    $("message").value = "";
    say("Done.", false, `Base: ${sides.base.facts.textContent}. Guided: ${sides.guided.facts.textContent}.`);
  } catch (err) {
    running.abort();
    say(err.name === "AbortError" ? "Stopped." : err.message, err.name !== "AbortError");
  }
  running = null;
  $("send").disabled = false;
  $("stop").disabled = true;
});
$("message").addEventListener("keydown", (e) => {
  if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
    e.preventDefault();
    $("ask").requestSubmit();
  }
});
document.addEventListener("keydown", (e) => {
  if (e.key !== "Escape" || $("report").open) return;
  Object.values(sides).forEach((side) => side.leave());
  running?.abort();
});
$("stop").addEventListener("click", () => running?.abort());
$("clear").addEventListener("click", () => {
  turns = [];
  tell();
  $("message").focus();
});
$("unlock").addEventListener("submit", (e) => {
  e.preventDefault();
  begin().catch((err) => say(err.message, true));
});
$("settings").addEventListener("submit", (e) => e.preventDefault());
$("method").addEventListener("change", offer);
document.querySelectorAll("#settings output").forEach((o) => $(o.htmlFor.value).addEventListener("input", () => show(o)));
begin().catch((err) => say(err.message, true));
