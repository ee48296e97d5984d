// One rollout: its answer token by token, its steps and spans, what was said about it, and the details at the side.

const SOURCES = {
  outcome: "the verifier: how the answer was judged", sibling: "a right answer of the same group", reference: "the worked reference solution",
  critique: "the critic", affect: "the note on what the student itself doubted",
};
const LAZY = 6000, BLOCK = 1000;

function spansAt(page, token) {
  return page.spans.filter((s) => s.start <= token && token < s.end).sort((a, b) => (a.end - a.start) - (b.end - b.start) || b.intensity - a.intensity);
}

// The steps, and the stretches of tokens between them, as rows of at most BLOCK tokens.
function rowsOf(page) {
  const rows = [];
  const push = (start, end, step) => { for (let a = start; a < end; a += BLOCK) rows.push({ start: a, end: Math.min(a + BLOCK, end), step, goesOn: a > start }); };
  let at = 0;
  page.steps.forEach((s, k) => { push(at, s.start, null); push(Math.max(s.start, at), s.end, k); at = Math.max(at, s.end); });
  push(at, page.tokens.length, null);
  return rows;
}

// A conversation is drawn turn by turn: the policy's in colours, what others said as plain words.
const heardAt = (page, i) => (page.heard || []).some(([a, b]) => a <= i && i < b);
const stepName = (page, k) => `${page.heard ? "Turn" : "Step"} ${k + 1}`;
const earned = (s) => (s.reward === null || s.reward === undefined ? null : `${s.reward > 0 ? "+" : ""}${number(s.reward)}`);

// The tokens [start, end) of a page as elements, coloured by a signal; `focusable` where each is a thing to go to.
function tokenNodes(page, start, end, paint, focusable) {
  const nodes = [];
  const pieces = page.fragments.filter(([a, b]) => a < end && b > start);
  const make = (i, inside) => {
    const text = page.tokens[i], span = spansAt(page, i)[0];
    const node = el("span", { class: `t ${paint(i)}${span ? ` u-${span.label}` : ""}`, "data-i": String(i) });
    if (focusable) {
      node.setAttribute("role", "button");
      node.setAttribute("tabindex", "-1");
      if (!text.trim() || inside) node.setAttribute("aria-label", inside || spoken(text));
    }
    node.append(inside ? "�" : text === "" ? el("span", { class: "esc" }, "empty") : shown(text, { breaks: i + 1 < end }));
    return node;
  };
  for (let i = start; i < end; i++) {
    const piece = pieces.find(([a, b]) => a <= i && i < b);
    if (!piece) { nodes.push(make(i)); continue; }
    const [a, b, whole] = piece, from = Math.max(a, start), to = Math.min(b, end);
    const box = el("span", { class: "broken", title: `${b - a} tokens write ${whole ? "this character together" : "bytes that are no text"}` });
    if (whole) box.append(el("span", { class: "whole" }, shown(whole)));
    for (let k = from; k < to; k++) box.append(make(k, `piece ${k - a + 1} of ${b - a} of ${whole || "a character that was not finished"}`));
    nodes.push(box);
    i = to - 1;
  }
  return nodes;
}

function painter(page, overview, name) {
  const values = page.signals[name], scale = scaleOf(overview, name), range = rangeOf(scale, values || []);
  return { scale, range, paint: (i) => (heardAt(page, i) ? "heard" : values ? level(values[i], scale, range) : "none") };
}

function drawAnswer(page, overview, state) {
  const { paint } = painter(page, overview, state.signal);
  const what = page.heard ? "The conversation, turn by turn and" : "The answer,";
  const box = el("div", { class: "answer", id: "answer", role: "group", "aria-label": `${what} token by token. Arrow keys go from token to token.` });
  const said = (step) => page.feedback.filter((part) => part.steps && part.steps.includes(step));
  rowsOf(page).forEach(({ start, end, step, goesOn }) => {
    const s = step === null ? null : page.steps[step], gutter = el("div", { class: "gutter" });
    if (s && !goesOn) {
      gutter.append(...el("div", {}, el("span", {}, mark(s.quadrant), " ", el("b", {}, stepName(page, step))), " ",
        page.heard && s.right === null ? null : [el("span", { class: `said ${s.right === true ? "right" : s.right === false ? "wrong" : ""}`, title: "what the verifier said of the step" }, s.right === true ? "✓ right" : s.right === false ? "✗ wrong" : "not judged"), " "],
        el("span", { class: "said", title: "the largest surprisal of a token in the step, nats" }, `doubt ${nats(s.doubt)}`),
        earned(s) === null ? null : [" ", el("span", { class: "said", title: "what the turn earned, in the unit of whoever gave it" }, `earned ${earned(s)}`)]).childNodes);
    } else gutter.append(el("span", {}, s ? `token ${start}` : heardAt(page, start) ? "The other" : "outside of steps"));
    const tokens = el("div", { class: "tokens", dir: "ltr" });
    const fill = () => tokens.replaceChildren(...tokenNodes(page, start, end, paint, true));
    if (start < LAZY) fill();
    else { // far below: plain text until somebody comes near
      tokens.textContent = page.tokens.slice(start, end).join("");
      new IntersectionObserver((seen, watcher) => { if (seen.some((e) => e.isIntersecting)) { watcher.disconnect(); fill(); } }, { rootMargin: "800px" }).observe(tokens);
      tokens.fill = fill;
    }
    const body = el("div", { class: "body" }, tokens);
    if (s && end === s.end) said(step).forEach((part) => body.append(el("p", { class: "comment" }, el("span", { class: "kind" }, part.kind === "critique" ? "critic" : part.kind), el("span", { class: "plain" }, shown(part.text)))));
    box.append(el("div", { class: s === null && heardAt(page, start) ? "step other-said" : "step" }, gutter, body));
  });
  if (!page.tokens.length) box.append(el("p", { class: "empty" }, "The answer is empty."));
  box.querySelector(".t")?.setAttribute("tabindex", "0");
  return box;
}

// The signal over the tokens, with the borders of steps and the spans below it.
function drawCurve(page, overview, state) {
  const values = page.signals[state.signal], { scale, range } = painter(page, overview, state.signal);
  const n = page.tokens.length, W = 1000, H = 74, lanes = overview.labels.filter((l) => page.spans.some((s) => s.label === l));
  if (!values || n < 2) return null;
  const x = (i) => (i / n) * W, y = (v) => 4 + (1 - Math.max(0, Math.min(1, (v - range.low) / (range.high - range.low)))) * (H - 8);
  const total = H + 6 + lanes.length * 7;
  const drawing = svg("svg", { class: "curve", viewBox: `0 0 ${W} ${total}`, role: "img", preserveAspectRatio: "none",
    "aria-label": `${scale.title} over the ${n} tokens, and where the spans lie` });
  drawing.style.height = `${total}px`;
  const stride = Math.max(1, Math.floor(n / 2000)), points = [], base = scale.direction === "both" ? y(0) : y(range.low);
  for (let i = 0; i < n; i += stride) { // the largest excursion of each stretch, so that no spike is lost
    let best = values[i];
    for (let k = i; k < Math.min(n, i + stride); k++) if (!Number.isFinite(best) || Math.abs(values[k]) > Math.abs(best)) best = values[k];
    const there = Number.isFinite(best) ? y(best) : heardAt(page, i) ? base : null; // nothing was chosen where others spoke
    if (there !== null) points.push(`${x(i).toFixed(1)},${there.toFixed(1)}`, `${x(Math.min(n, i + stride)).toFixed(1)},${there.toFixed(1)}`);
  }
  if (points.length) drawing.append(svg("polygon", { class: "area", points: `${points[0].split(",")[0]},${base} ${points.join(" ")} ${points.at(-1).split(",")[0]},${base}` }));
  page.steps.forEach((s) => drawing.append(svg("line", { class: "border", x1: x(s.start), x2: x(s.start), y1: 0, y2: total })));
  if (scale.direction === "both") drawing.append(svg("line", { class: "zero", x1: 0, x2: W, y1: base, y2: base }));
  drawing.append(svg("polyline", { class: "line", points: points.join(" ") }));
  page.spans.forEach((s) => {
    const band = svg("rect", { class: `l-${s.label}`, x: x(s.start), width: Math.max(2, x(s.end) - x(s.start)), y: H + 4 + lanes.indexOf(s.label) * 7, height: 4.5, rx: 2, fill: "currentColor" });
    band.append(svg("title", {}));
    band.firstChild.textContent = `${s.label}, intensity ${number(s.intensity, 2)}`;
    drawing.append(band);
  });
  if (state.token !== null) drawing.append(svg("line", { class: "here", x1: x(state.token + 0.5), x2: x(state.token + 0.5), y1: 0, y2: H }));
  return drawing;
}

function drawSpans(page, go, peek) {
  if (!page.spans.length) return el("p", { class: "soft small" }, page.unread.length ? "No span. " : "No span was read in this answer.");
  const shownSpans = page.spans.slice(0, 60);
  return el("div", { class: "spans", role: "group", "aria-label": "Spans of affect" }, shownSpans.map((s) => el("button", { type: "button", onclick: () => go(s), onfocus: () => peek(s), onmouseenter: () => peek(s) },
    el("i", { class: `l-${s.label} u-${s.label}` }, s.label), el("span", { class: "num" }, number(s.intensity, 2)),
    el("span", { class: "mono soft" }, shown(page.tokens.slice(s.start, Math.min(s.end, s.start + 12)).join("") + (s.end - s.start > 12 ? "…" : ""), { breaks: false })))),
  page.spans.length > 60 ? el("span", { class: "soft small" }, `and ${page.spans.length - 60} more, below their tokens`) : null);
}

// A text with every occurrence of some other texts marked: what of the teacher's context is feedback.
function marked(text, parts) {
  const out = document.createDocumentFragment();
  let from = 0;
  while (from < text.length) {
    let at = -1, length = 0;
    for (const part of parts) {
      const k = part ? text.indexOf(part, from) : -1;
      if (k >= 0 && (at < 0 || k < at || (k === at && part.length > length))) { at = k; length = part.length; }
    }
    if (at < 0) break;
    out.append(shown(text.slice(from, at)), el("mark", {}, shown(text.slice(at, at + length))));
    from = at + length;
  }
  out.append(shown(text.slice(from)));
  return out;
}

function drawContexts(page) {
  const student = page.prompt ?? page.question ?? "";
  const card = (title, body, note) => el("div", { class: "card" }, el("h3", {}, title), note ? el("p", { class: "soft small" }, note) : null, body);
  return el("section", { "aria-labelledby": "contexts" }, el("h2", { id: "contexts" }, "What was seen"), el("div", { class: "contexts" },
    card("The student's prompt", el("pre", { tabindex: "0" }, shown(student)), page.prompt === null || page.prompt === undefined ? "Only the question was kept, without the chat template's marks." : null),
    page.teacher_prompt ? card("The teacher's context", el("pre", { tabindex: "0" }, marked(page.teacher_prompt, page.feedback.map((p) => p.text))), "Marked: what the student did not see.")
      : card("The teacher's context", el("p", { class: "soft" }, "No teacher looked at this answer."))));
}

function drawFeedback(page) {
  const where = (part) => (part.steps === null || part.steps === undefined ? "about the whole answer" : `about step${part.steps.length === 1 ? "" : "s"} ${part.steps.map((s) => s + 1).join(", ")}`);
  return el("section", { "aria-labelledby": "said" }, el("h2", { id: "said" }, "What was said"),
    page.feedback.length ? el("ul", { class: "parts" }, page.feedback.map((part) => el("li", { class: "card" },
      el("span", { class: "kind" }, part.kind), el("span", { class: "from" }, `from ${SOURCES[part.kind] || part.kind}, ${where(part)}`), el("div", { class: "text", tabindex: "0", role: "group", "aria-label": `text of the ${part.kind}` }, shown(part.text)))))
      : el("p", { class: "soft" }, "Nothing was said about this answer."));
}

function drawToken(page, overview, i, current) {
  const step = page.steps.findIndex((s) => s.start <= i && i < s.end), piece = page.fragments.find(([a, b]) => a <= i && i < b);
  const rows = Object.keys(page.signals).flatMap((name) => {
    const { scale, paint } = painter(page, overview, name), value = page.signals[name][i];
    return [el("dt", {}, name === current ? el("b", {}, scale.title) : scale.title), el("dd", {}, el("span", { class: `t ${paint(i)}` }, number(value)), scale.unit ? ` ${scale.unit}` : "")];
  });
  const p = page.signals.surprisal ? Math.exp(-page.signals.surprisal[i]) : NaN;
  return [
    el("h2", {}, `Token ${i + 1} of ${page.tokens.length}`, page.token_ids ? el("span", { class: "soft small" }, `id ${page.token_ids[i]}`) : null),
    el("div", { class: "big" }, piece ? ["�", el("span", { class: "soft small" }, ` piece ${i - piece[0] + 1} of ${piece[1] - piece[0]} of `), piece[2] ? shown(piece[2]) : "a character that was not finished"] : page.tokens[i] === "" ? "nothing" : shown(page.tokens[i].slice(0, 2000), { breaks: false })),
    heardAt(page, i) ? el("p", { class: "small" }, "Said to the policy: read, never trained.") : null,
    Number.isFinite(p) ? el("p", { class: "small" }, `Its probability was ${number(p)}${p < 0.5 ? ": less than even odds" : ""}.`) : null,
    el("dl", {}, rows),
    step >= 0 ? el("p", { class: "small" }, mark(page.steps[step].quadrant), ` ${stepName(page, step)}: ${QUADRANT[page.steps[step].quadrant]}, doubt ${nats(page.steps[step].doubt)} nats.`) : null,
    ...spansAt(page, i).map((s) => drawSpan(page, s)),
  ];
}

function drawSpan(page, s) {
  const meter = el("i");
  meter.style.width = `${Math.round(100 * s.intensity)}%`;
  return el("div", { class: "span" }, el("h3", { class: `l-${s.label}` }, s.label, el("span", { class: "soft small" }, `  tokens ${s.start + 1} to ${s.end}`)),
    el("div", { class: `meter l-${s.label}`, role: "img", "aria-label": `intensity ${number(s.intensity, 2)} of 1` }, meter),
    el("p", { class: "small soft" }, `Intensity ${number(s.intensity, 2)}. Its evidence:`),
    el("dl", {}, Object.entries(s.evidence).flatMap(([name, value]) => [el("dt", {}, name.replaceAll("_", " ")), el("dd", {}, number(value))]),
      ["valence", "arousal", "dominance"].flatMap((name) => (s[name] === null || s[name] === undefined ? [] : [el("dt", {}, name), el("dd", {}, number(s[name], 2))]))));
}
