// What the machine has: lists of prompts, of which one may begin a conversation, and runs with their reports.
import { $, read, readText } from "./api.js";

const page = 20; // prompts that are shown at once
let from = 0;

// begin shows what there is; take gets the messages of a prompt that is chosen.
export async function begin(take) {
  const [{ runs }, { prompts }] = await Promise.all([read("runs"), read("prompts")]);
  $("machine").hidden = runs.length + prompts.length === 0;
  $("runs").hidden = runs.length === 0;
  $("prompts").hidden = prompts.length === 0;
  $("run-rows").replaceChildren(...runs.map(row));
  $("list").replaceChildren(...prompts.map((p) => new Option(p.name, p.id)));
  $("list").onchange = () => show(0, take);
  $("earlier").onclick = () => show(from - page, take);
  $("later").onclick = () => show(from + page, take);
  $("prompts").ontoggle = () => $("prompts").open && $("prompt-list").childElementCount === 0 && show(0, take);
}

// show shows the prompts of the chosen list from one on.
async function show(at, take) {
  try {
    const { total, prompts } = await read(`prompts/${$("list").value}?from=${at}&count=${page}`);
    from = at;
    $("prompt-list").replaceChildren(...prompts.map((p) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = said(p.messages.at(-1));
      button.onclick = () => take(p.messages.map((m) => ({ role: m.role, content: said(m) })));
      const item = document.createElement("li");
      item.append(button);
      return item;
    }));
    $("earlier").disabled = from === 0;
    $("later").disabled = from + page >= total;
    $("which").textContent = total ? `${from + 1} to ${from + prompts.length} of ${total}` : "none";
  } catch (err) {
    $("which").textContent = err.message;
  }
}

// said is the text of a message, also where it comes in parts.
const said = (m) => (typeof m.content === "string" ? m.content : (m.content ?? []).map((part) => part.text ?? "").join(""));

function row(r) {
  const tr = document.createElement("tr");
  const cell = (text, kind = "td") => {
    const c = document.createElement(kind);
    c.append(text);
    tr.append(c);
    return c;
  };
  const name = cell(r.name, "th");
  name.scope = "row";
  const when = document.createElement("time");
  when.dateTime = r.changed;
  when.textContent = r.damaged ? "damaged" : new Date(r.changed).toLocaleDateString();
  name.append(when);
  cell(r.model ?? "");
  cell([r.reward, r.second_reward && `watched by ${r.second_reward}`].filter(Boolean).join(", "));
  const learned = r.learned.at(-1);
  cell(r.kind === "experiment" ? "experiment" : learned ? `${learned.head} from ${learned.trajectories} answers, round ${r.learned.length} of ${r.rounds}` : "not yet");
  cell(learned && typeof learned.r2 === "number" ? learned.r2.toFixed(3) : "");
  cell(evaluation(r.methods));
  const report = cell("");
  if (r.report) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Open";
    button.ariaLabel = `Open the report of ${r.name}`;
    button.onclick = () => open(r);
    report.append(button);
  }
  return tr;
}

// evaluation is what the first method and the best one gave.
function evaluation(methods) {
  if (methods.length === 0) return "none";
  const of = (m) => `${m.name} ${Number(m.reward.mean).toFixed(3)}`;
  const best = methods.reduce((a, b) => (b.reward.mean > a.reward.mean ? b : a));
  const kl = typeof best.kl === "number" && best.kl ? ` at KL ${best.kl_kind === "bound" ? "≤ " : ""}${best.kl.toFixed(2)}` : "";
  return best === methods[0] ? of(best) : `${of(methods[0])}, ${of(best)}${kl}`;
}

// open shows a run's report, which may run nothing and reaches nothing.
async function open(r) {
  $("report-title").textContent = `Report of ${r.name}`;
  $("report-page").srcdoc = "<p>Reading…";
  $("report").showModal();
  try {
    $("report-page").srcdoc = await readText(`runs/${r.id}/report`);
  } catch (err) {
    $("report-page").srcdoc = "";
    $("report-title").textContent = err.message;
  }
}
