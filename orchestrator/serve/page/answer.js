// An answer as it comes: its tokens, coloured by the value of the state after each, and what is known of the
// one that is pointed at.
import { $ } from "./api.js";

export class Answer {
  // side is the id of the answer's box, range what most values lie between.
  constructor(side, range) {
    this.box = $(side);
    this.scrub = $(side + "-token");
    this.facts = $(side + "-facts");
    this.range = range;
    this.scrub.addEventListener("input", () => this.point(Number(this.scrub.value)));
    this.scrub.addEventListener("focus", () => this.point(Number(this.scrub.value)));
    this.scrub.addEventListener("blur", () => this.leave());
    this.box.addEventListener("pointerover", (e) => {
      const i = this.spans.indexOf(e.target);
      if (i >= 0) this.point(i);
    });
    this.box.addEventListener("pointerleave", () => this.leave());
    this.begin();
  }

  begin() {
    this.leave();
    this.spans = []; // of whole characters: of one token, or of several
    this.bytes = []; // of a character that is not whole yet
    this.chances = []; // the probabilities of its tokens
    this.count = 0; // tokens
    this.ahead = document.createTextNode(""); // text whose tokens are not told yet
    this.box.replaceChildren(this.ahead);
    this.box.classList.add("waiting");
    this.box.ariaBusy = "true";
    this.scrub.hidden = true;
    this.facts.textContent = "";
  }

  // text adds what is sure of the text.
  text(s) {
    this.box.classList.remove("waiting");
    this.ahead.data += s;
  }

  // tokens adds tokens, whose text was added before or is now, with the values of the states after them.
  tokens(list, values) {
    this.ahead.data = "";
    list.forEach((t, i) => {
      this.count++;
      this.bytes.push(...t.bytes);
      this.chances.push(Math.exp(t.logprob));
      let text;
      try {
        text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(this.bytes));
      } catch {
        if (this.bytes.length < 4) return; // a part of a character
        text = "\uFFFD";
      }
      const span = document.createElement("span");
      span.className = "token";
      span.textContent = text;
      span.dataset.chance = this.chances.map((p) => (100 * p).toPrecision(3) + " %").join(", ");
      span.token = this.count - 1;
      this.ahead.before(span);
      this.spans.push(span);
      this.bytes = [];
      this.chances = [];
      this.colour(span, values?.[i]);
    });
    this.scrub.hidden = this.spans.length === 0;
    this.scrub.max = Math.max(0, this.spans.length - 1);
    this.say();
  }

  colour(span, value) {
    if (typeof value !== "number") return;
    const [lo, hi] = this.range();
    span.dataset.value = value.toFixed(3);
    span.style.setProperty("--share", 100 * Math.max(0, Math.min(1, (value - lo) / (hi - lo || 1))) + "%");
  }

  // end says that all has come; values are those of all tokens, some of which may be known only now.
  end(values) {
    this.box.classList.remove("waiting");
    this.box.ariaBusy = "false";
    for (const span of this.spans) this.colour(span, values?.[span.token]);
    this.say();
  }

  about(span) {
    const value = span.dataset.value === undefined ? "" : `value ${span.dataset.value}, `;
    return `${value}probability ${span.dataset.chance}`;
  }

  // say tells those who do not see the answer of the token where the slider stands.
  say() {
    const span = this.spans[Number(this.scrub.value)];
    if (span) this.scrub.setAttribute("aria-valuetext", `${span.textContent.trim() || "space"}, ${this.about(span)}`);
  }

  // point shows what is known of a token.
  point(i) {
    this.leave();
    const span = this.spans[i];
    if (!span) return;
    this.scrub.value = i;
    this.say();
    span.classList.add("pointed");
    const tip = $("tip");
    tip.textContent = this.about(span);
    tip.hidden = false;
    const at = [...span.getClientRects()].at(-1); // of a token that is broken at its space, the word
    const left = Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = at.top - tip.offsetHeight - 6;
    tip.style.left = Math.max(8, left) + scrollX + "px";
    tip.style.top = (above > 0 ? above : at.bottom + 6) + scrollY + "px";
  }

  leave() {
    $("tip").hidden = true;
    for (const span of this.box.querySelectorAll(".pointed")) span.classList.remove("pointed");
  }
}
