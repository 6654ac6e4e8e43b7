// The tree of beams: a column for each block, in which what is kept stands above what is pruned.
import { $ } from "./api.js";

let last = []; // the beams that were kept of the last block

export function begin() {
  last = [];
  $("tree").replaceChildren();
  $("search").hidden = true;
}

// grow adds a block's candidates.
export function grow(branches) {
  $("search").hidden = false;
  const block = document.createElement("li");
  const list = document.createElement("ul");
  const kept = [];
  const rank = (b) => (b.kept < 0 ? Infinity : b.kept);
  for (const b of branches.toSorted((a, b) => rank(a) - rank(b) || (b.value ?? 0) - (a.value ?? 0))) {
    const item = document.createElement("li");
    item.className = "branch " + (b.kept < 0 ? "pruned" : "kept");
    const value = document.createElement("b");
    value.textContent = typeof b.value === "number" ? b.value.toFixed(3) : "–";
    const from = document.createElement("span");
    from.className = "unseen";
    from.textContent = `${b.kept < 0 ? "pruned" : "kept"}, from beam ${b.parent + 1}: `;
    item.append(from, value, " ", b.text);
    item.grewFrom = last[b.parent] ?? null;
    if (b.kept >= 0) kept[b.kept] = item;
    list.append(item);
  }
  list.ariaLabel = `Block ${$("tree").querySelectorAll(".block").length + 1}`;
  block.className = "block";
  block.append(list);
  $("tree").append(block);
  last = kept;
  draw();
  $("tree").scrollLeft = $("tree").scrollWidth;
}

// draw draws the lines between beams and what they grew into.
function draw() {
  const tree = $("tree");
  tree.querySelector("svg")?.remove();
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("width", tree.scrollWidth);
  svg.setAttribute("height", tree.scrollHeight);
  svg.setAttribute("aria-hidden", "true");
  for (const item of tree.querySelectorAll(".branch")) {
    const from = item.grewFrom;
    if (!from) continue;
    const x0 = from.offsetLeft + from.offsetWidth, y0 = from.offsetTop + from.offsetHeight / 2;
    const x1 = item.offsetLeft, y1 = item.offsetTop + item.offsetHeight / 2, middle = (x0 + x1) / 2;
    const path = document.createElementNS(svg.namespaceURI, "path");
    path.setAttribute("d", `M${x0} ${y0}C${middle} ${y0} ${middle} ${y1} ${x1} ${y1}`);
    path.setAttribute("class", item.classList.contains("kept") ? "kept" : "pruned");
    svg[item.classList.contains("kept") ? "append" : "prepend"](path);
  }
  const li = document.createElement("li"); // lists hold nothing but items
  li.role = "presentation";
  li.className = "lines";
  tree.querySelector(".lines")?.remove();
  li.append(svg);
  tree.prepend(li);
}

addEventListener("resize", () => $("tree").childElementCount && draw());
