// The page: base and guided answers side by side, as they come. It keeps the conversation in the page alone.
const $ = (id) => document.getElementById(id);
const settings = ["beta", "beams", "block", "tokens", "temperature"];
let props = null; // what the server is
let range = [0, 1]; // what most values lie between
let turns = []; // the conversation
let running = null; // that of the answers under way

const headers = () => {
  const h = { "Content-Type": "application/json" };
  if ($("key").value) h.Authorization = "Bearer " + $("key").value;
  return h;
};

async function begin() {
  const res = await fetch("props", { headers: headers() });
  if (res.status === 401) {
    document.querySelector(".key").hidden = false;
    say("This server wants a key.");
    return;
  }
  props = await res.json();
  const ivo = props.ivo;
  $("about").textContent = `${props.model_alias}, ${(ivo.parameters / 1e6).toFixed(0)} million parameters`;
  const heads = Object.keys(ivo.value_heads);
  const guides = heads.length > 0 || (ivo.rewards ?? []).length > 0;
  for (const m of ivo.methods) $("method").add(new Option(m, m));
  $("method").value = ivo.method === "sample" && guides ? (heads.length ? "block-beam" : "best-of-n") : ivo.method;
  $("beta").value = ivo.beta;
  $("beams").value = Math.min(ivo.beams, 6);
  $("block").value = Math.min(ivo.block, 32);
  for (const r of ["", ...(ivo.rewards ?? [])]) $("reward").add(new Option(r || "none", r));
  $("reward").value = ivo.reward || "";
  if (heads.length) {
    range = ivo.value_heads[ivo.value_head] ?? ivo.value_heads[heads[0]];
    $("low").textContent = range[0].toFixed(2);
    $("high").textContent = range[1].toFixed(2);
    $("legend").hidden = false;
  }
  settings.forEach(show);
  say("");
}

function show(id) {
  document.querySelector(`output[for="${id}"]`).value = $(id).value;
}

function say(text, error = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", error);
}

// guidance is what the sliders say.
function guidance() {
  const method = $("method").value;
  const g = { method, values: true, tree: true };
  if (["tokenwise", "greedy", "block-sampling", "one-pass"].includes(method)) g.beta = Number($("beta").value);
  if (method === "block-beam") g.beams = Number($("beams").value);
  if (method.startsWith("block")) g.block = Number($("block").value);
  if (!Object.keys(props.ivo.value_heads).length && props.ivo.rewards?.length) g.reward = props.ivo.reward || props.ivo.rewards[0];
  return g;
}

// events reads a stream of server-sent events.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    let at;
    while ((at = rest.indexOf("\n\n")) >= 0) {
      const data = rest.slice(0, at).split("\n").filter((l) => l.startsWith("data: ")).map((l) => l.slice(6)).join("\n");
      rest = rest.slice(at + 2);
      if (data === "[DONE]") return;
      if (data) yield JSON.parse(data);
    }
  }
}

// answer streams one answer into a side.
async function answer(side, how, messages, seed, signal) {
  const box = $(side);
  box.replaceChildren();
  box.classList.add("waiting");
  $(side + "-facts").textContent = "";
  const begun = performance.now();
  const res = await fetch("v1/chat/completions", {
    method: "POST", headers: headers(), signal,
    body: JSON.stringify({
      model: props.model_alias, messages, seed, max_tokens: Number($("tokens").value), temperature: Number($("temperature").value),
      stream: true, stream_options: { include_usage: true }, logprobs: true, guidance: how,
    }),
  });
  if (!res.ok) {
    box.classList.remove("waiting");
    throw new Error((await res.json()).error.message);
  }
  let said = "", ivo = null, tokens = null, usage = null, first = 0;
  for await (const chunk of events(res.body)) {
    if (chunk.error) throw new Error(chunk.error.message);
    usage = chunk.usage ?? usage;
    for (const c of chunk.choices) {
      if (c.branches && side === "guided") grow(c.branches);
      if (c.delta.content) {
        first ||= performance.now() - begun;
        box.classList.remove("waiting");
        said += c.delta.content;
        box.append(c.delta.content);
      }
      tokens = c.logprobs?.content ?? tokens;
      ivo = c.ivo ?? ivo;
    }
  }
  box.classList.remove("waiting");
  if (tokens) paint(box, tokens, ivo?.values);
  const facts = [`${usage?.completion_tokens ?? "?"} tokens, ${usage?.decoded_tokens ?? "?"} decoded`];
  if (ivo?.value !== undefined && ivo.value !== null) facts.push(`value ${ivo.value.toFixed(3)}`);
  if (typeof ivo?.kl === "number" && ivo.kl) facts.push(`KL ${ivo.kl_kind === "bound" ? "at most " : ""}${ivo.kl.toFixed(2)} nats`);
  facts.push(`${((performance.now() - begun) / 1000).toFixed(1)} s, first text after ${(first / 1000).toFixed(1)} s`);
  $(side + "-facts").textContent = facts.join(" · ");
  return said;
}

// paint colours an answer's tokens by the value of the state after each.
function paint(box, tokens, values) {
  const out = new DocumentFragment();
  let bytes = [], about = [], value = null;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  tokens.forEach((t, i) => {
    bytes.push(...t.bytes);
    about.push(t);
    value = values?.[i] ?? value;
    let text;
    try {
      text = decoder.decode(new Uint8Array(bytes));
    } catch {
      if (i < tokens.length - 1) return; // a part of a character
      text = t.token;
    }
    const span = document.createElement("span");
    span.className = "token";
    span.textContent = text;
    const p = about.map((a) => (100 * Math.exp(a.logprob)).toPrecision(3) + " %").join(", ");
    span.title = `probability ${p}`;
    if (value !== null) {
      const share = Math.max(0, Math.min(1, (value - range[0]) / (range[1] - range[0] || 1)));
      span.dataset.value = value;
      span.style.setProperty("--share", 100 * share + "%");
      span.title = `value ${value.toFixed(3)}, ` + span.title;
    }
    out.append(span);
    bytes = [];
    about = [];
    value = null;
  });
  box.replaceChildren(out);
}

// grow adds a block of the search to the tree.
function grow(branches) {
  $("search").hidden = false;
  const block = document.createElement("div");
  block.className = "block";
  const number = $("tree").childElementCount + 1;
  block.setAttribute("role", "group");
  block.setAttribute("aria-label", `block ${number}`);
  const order = branches.map((b, i) => [b, i]).sort(([a], [b]) => (a.kept < 0) - (b.kept < 0) || a.kept - b.kept || (b.value ?? 0) - (a.value ?? 0));
  for (const [b] of order) {
    const item = document.createElement("div");
    item.className = "branch " + (b.kept < 0 ? "pruned" : "kept");
    const value = document.createElement("b");
    value.textContent = b.value === null ? "–" : b.value.toFixed(3);
    const from = document.createElement("i");
    from.textContent = ` ← ${b.parent + 1} `;
    from.title = `grew from beam ${b.parent + 1} of the block before`;
    item.append(value, from, b.text);
    if (b.kept < 0) item.setAttribute("aria-label", "pruned: " + b.text);
    block.append(item);
  }
  $("tree").append(block);
  $("tree").scrollLeft = $("tree").scrollWidth;
}

async function score(messages, texts) {
  const reward = $("reward").value;
  if (!reward) return;
  const res = await fetch("score", { method: "POST", headers: headers(), body: JSON.stringify({ reward, messages, responses: texts }) });
  const reply = await res.json();
  if (!res.ok) return say(reply.error.message, true);
  ["base", "guided"].forEach((side, i) => {
    const s = reply.scores[i];
    $(side + "-facts").textContent += ` · ${reward} ${s === null ? "none" : s.toFixed(3)}`;
  });
}

function turn(role, content) {
  const p = document.createElement("div");
  p.className = "turn " + role;
  p.textContent = content;
  $("conversation").append(p);
}

$("ask").addEventListener("submit", async (e) => {
  e.preventDefault();
  if (running || !props) return;
  const keep = document.querySelector('input[name="keep"]:checked').value;
  const text = $("message").value;
  const messages = [...turns, { role: "user", content: text }];
  const seed = $("seed").value === "" ? Math.floor(Math.random() * 2 ** 31) : Number($("seed").value);
  running = new AbortController();
  $("send").disabled = true;
  $("stop").disabled = false;
  $("tree").replaceChildren();
  $("search").hidden = true;
  say("Searching…");
  const values = Object.keys(props.ivo.value_heads).length > 0;
  try {
    const [base, guided] = await Promise.all([
      answer("base", { method: "sample", values }, messages, seed, running.signal),
      answer("guided", guidance(), messages, seed, running.signal),
    ]);
    await score(messages, [base, guided]);
    turns = [...messages, { role: "assistant", content: keep === "base" ? base : guided }];
    turn("user", text);
    turn("assistant", turns.at(-1).content);
    $("message").value = "";
    say("Done.");
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
  if (e.key === "Escape" && running) running.abort();
});
$("stop").addEventListener("click", () => running?.abort());
$("clear").addEventListener("click", () => {
  turns = [];
  $("conversation").replaceChildren();
  $("message").focus();
});
$("key").addEventListener("change", begin);
settings.forEach((id) => $(id).addEventListener("input", () => show(id)));
begin().catch((err) => say(err.message, true));
