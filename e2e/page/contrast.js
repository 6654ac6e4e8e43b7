// What is harder to read than WCAG 2.2 allows: text under 4.5 to 1 (1.4.3), 3 to 1 where it is large, and edges of
// controls under 3 to 1 (1.4.11). Colours are computed as they are painted, one over the other.
(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const painted = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const c of colours) {
      canvas.fillStyle = c;
      canvas.fillRect(0, 0, 1, 1);
    }
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = ([r, g, b]) => [[r, 0.2126], [g, 0.7152], [b, 0.0722]].reduce((sum, [v, w]) => sum + w * (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4), 0);
  const ratio = (a, b) => (Math.max(luminance(a), luminance(b)) + 0.05) / (Math.min(luminance(a), luminance(b)) + 0.05);
  const behind = (e) => {
    const colours = [];
    for (; e; e = e.parentElement) colours.unshift(getComputedStyle(e).backgroundColor);
    return colours;
  };
  const shown = (e) => e.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && !e.closest(":disabled, .unseen, .skip:not(:focus)") && e.tagName !== "OPTION";
  const weak = [];
  const look = (e, colour, text) => {
    const back = behind(e), s = getComputedStyle(e), size = parseFloat(s.fontSize);
    const large = size >= 24 || (size >= 18.66 && s.fontWeight >= 700);
    const r = ratio(painted([...back, colour]), painted(back));
    if (r < (large ? 3 : 4.5)) weak.push(`${e.tagName} ${e.id || e.className}: ${JSON.stringify(text.trim().slice(0, 30))} has ${r.toFixed(2)} to 1`);
    for (let a = e; a; a = a.parentElement) if (getComputedStyle(a).opacity !== "1") weak.push(`${e.tagName} ${e.id}: is see-through`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let n; (n = texts.nextNode()); ) if (n.data.trim() && shown(n.parentElement)) look(n.parentElement, getComputedStyle(n.parentElement).color, n.data);
  for (const e of document.querySelectorAll("input, select, textarea, button")) {
    if (!shown(e)) continue;
    const s = getComputedStyle(e);
    if (e.value && e.type !== "range" && e.type !== "radio") look(e, s.color, e.value);
    if (e.placeholder) look(e, getComputedStyle(e, "::placeholder").color, e.placeholder);
    if (parseFloat(s.borderTopWidth) > 0) {
      const back = behind(e.parentElement), r = ratio(painted([...back, s.borderTopColor]), painted(back));
      if (r < 3) weak.push(`${e.tagName} ${e.id}: its edge has ${r.toFixed(2)} to 1`);
    }
  }
  return weak;
})()
