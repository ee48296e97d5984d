// Elements, and texts that other people wrote. Text only ever becomes a text node; nothing is parsed as markup.

function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}
function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Controls, format marks (zero-width and direction among them), lone surrogates, private use, odd spaces and fillers.
const UNSEEN = /(?! )[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Co}\p{Zs}\u115F\u1160\u2800\u3164\uFFA0]/gu;
const hex = (c) => "U+" + c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0");

// Text in which nothing hides: each character that would be invisible, or would move others, stands as its code point.
function shown(text, { breaks = true } = {}) {
  const out = document.createDocumentFragment();
  let from = 0;
  for (const match of text.matchAll(UNSEEN)) {
    out.append(text.slice(from, match.index));
    const c = match[0];
    from = match.index + c.length;
    if (c === "\n") {
      out.append(el("span", { class: "nl" }, "⏎"));
      if (breaks) out.append("\n");
    } else if (c === "\t") out.append(el("span", { class: "nl" }, "⇥\t"));
    else out.append(el("span", { class: "esc", title: "an invisible character" }, hex(c)));
  }
  out.append(text.slice(from));
  return out;
}
const spoken = (text) => (text.trim() ? text : text === "" ? "nothing" : [...text].map((c) => ({ " ": "space", "\n": "newline", "\t": "tab" })[c] || hex(c)).join(", "));

const number = (x, digits = 3) => {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "-∞";
  if (x !== 0 && Math.abs(x) < 0.0005) return x.toExponential(1);
  return String(Number(x.toPrecision(digits)));
};
const nats = (x) => (x === null || Number.isNaN(x) ? "–" : x.toFixed(2));
const amount = (n) => n.toLocaleString("en").replaceAll(",", " ");
const short = (n) => (n < 10000 ? String(n) : `${number(n / 1000, 3)}k`);
const QUADRANT = {
  "confident-wrong": "sure, wrong", "doubt-wrong": "unsure, wrong", "doubt-right": "unsure, right",
  "confident-right": "sure, right", unknown: "not judged",
};
const mark = (quadrant) => el("span", { class: `mark ${quadrant}`, role: "img", "aria-label": QUADRANT[quadrant], title: QUADRANT[quadrant] });
