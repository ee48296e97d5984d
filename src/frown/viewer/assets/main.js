// The page as a whole: what is looked at, which is in the address, too, and the keys.

const DEFAULTS = { id: "", signal: "surprisal", tab: "group", token: null, quadrant: [], label: [], arm: "", seed: "", split: "", step: "", reward: "", order: "grave", q: "" };
const embedded = JSON.parse(document.getElementById("data").textContent);
const source = embedded ? fromFile(embedded) : fromServer();
const main = document.getElementById("main"), detail = document.getElementById("detail");
const state = { ...DEFAULTS, at: -1, page: null, shown: [], hits: null };
let overview, list, comparison, named;

const keyOf = (i) => {
  const c = overview.columns;
  return `${overview.runs[c.run[i]].key}:${overview.splits[c.split[i]]}:${c.step[i]}:${c.row[i]}`;
};
function hashOf(changes = {}) {
  const now = { ...state, ...changes }, params = new URLSearchParams();
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = now[name];
    if (Array.isArray(usual)) { if (value.length) params.set(name, value.join(",")); } else if (value !== usual && value !== null && value !== "") params.set(name, String(value));
  }
  return `#${params}`;
}
function readHash() {
  const params = new URLSearchParams(location.hash.slice(1)), found = {};
  for (const [name, usual] of Object.entries(DEFAULTS)) {
    const value = params.get(name);
    found[name] = value === null ? usual : Array.isArray(usual) ? value.split(",").filter(Boolean) : name === "token" ? (/^\d+$/.test(value) ? Number(value) : null) : value;
  }
  found.quadrant = found.quadrant.filter((q) => overview.quadrants.includes(q));
  found.label = found.label.filter((l) => overview.labels.includes(l));
  if (!(found.tab in TABS)) found.tab = DEFAULTS.tab;
  if (!(found.order in ORDERS)) found.order = DEFAULTS.order;
  return found;
}
function remember(push = false) {
  const hash = hashOf();
  if (hash === (location.hash || "#")) return;
  history[push ? "pushState" : "replaceState"](null, "", hash);
}

async function applyFilters() {
  const q = state.q.trim();
  if (!q) state.hits = null;
  else if (state.searched !== q) {
    document.getElementById("count").textContent = "searching …";
    const hits = await source.search(q);
    if (state.q.trim() !== q) return;
    state.hits = hits;
  }
  state.searched = q;
  state.shown = ordered(overview, state);
  drawFilters(overview, state, changeFilter);
  const total = `${amount(overview.count)} rollout${overview.count === 1 ? "" : "s"}`;
  const parts = [state.shown.length === overview.count ? total : `${amount(state.shown.length)} of ${total}`];
  if (overview.leftOut) parts.push(`${amount(overview.leftOut)} more are in the run, not in this file`);
  if (overview.unread.length) parts.push(`${overview.unread.length} file${overview.unread.length === 1 ? "" : "s"} could not be read`);
  const count = document.getElementById("count");
  count.textContent = parts.join("; ");
  count.title = overview.unread.join("\n");
}
async function changeFilter(changes) {
  Object.assign(state, changes);
  document.getElementById("query").value = state.q;
  await applyFilters();
  remember();
  list.reveal();
  if (!state.shown.includes(state.at) && state.shown.length) await open(state.shown[0]);
}

async function open(i, { token = null, push = true } = {}) {
  if (i === state.at && state.page) return list.reveal();
  state.at = i;
  state.id = keyOf(i);
  state.token = token;
  main.classList.add("loading");
  list.reveal();
  try {
    const page = await source.page(i);
    if (state.at !== i) return;
    state.page = page;
    if (!(state.signal in page.signals)) state.drawn = Object.keys(page.signals)[0] ?? state.signal; else state.drawn = state.signal;
    draw();
    main.scrollTop = 0;
    remember(push);
  } catch (error) { main.replaceChildren(el("p", { class: "error", role: "alert" }, `This rollout cannot be shown: ${error.message || error}`)); }
  main.classList.remove("loading");
}

function draw() {
  const { page } = state, c = overview.columns, i = state.at, view = { ...state, signal: state.drawn };
  const run = overview.runs[c.run[i]], q = overview.quadrants[c.quadrant[i]];
  const { scale, range } = painter(page, overview, view.signal), names = Object.keys(page.signals);
  const crumb = (words, value) => el("span", {}, `${words} `, el("b", {}, value));
  const score = page.score === null ? "unscored" : `${number(page.score)}`;
  comparison = makeComparison(source, overview, view, (j) => hashOf({ id: keyOf(j), token: null }), open);
  const elsewhere = comparison.section((tab, focus) => { state.tab = tab; remember(); redrawElsewhere(focus); });
  main.replaceChildren(
    el("div", { class: "head" },
      el("div", { class: "titles" }, el("h2", { dir: "auto" }, shown((page.question ?? "").slice(0, 4000) || "(no question kept)")),
        el("p", { class: "crumbs" }, el("span", {}, mark(q), " ", el("b", {}, QUADRANT[q])), crumb("arm", run.key), crumb(overview.splits[c.split[i]] === "train" ? "training step" : `evaluation (${overview.splits[c.split[i]]}) at step`, String(c.step[i])),
          page.group === null || page.group === undefined ? null : crumb("group", String(page.group)), crumb("reward", score), crumb("tokens", `${page.tokens.length}${page.heard ? `, of which ${page.heard.reduce((n, [a, b]) => n - b + a, page.tokens.length)} the policy's` : ""}${page.stop === "length" ? ", cut at the limit" : ""}`),
          page.temperature ? crumb("temperature", number(page.temperature)) : null, page.source && page.source !== "full" ? crumb("signals from", page.source) : null)),
      el("div", { class: "steps-nav" }, el("button", { type: "button", onclick: () => list.move(-1), title: "Previous (k)" }, "‹ Previous"), el("button", { type: "button", onclick: () => list.move(1), title: "Next (j)" }, "Next ›"))),
    page.verdict || page.answer ? el("p", { class: "verdict small" }, el("span", { class: "kind" }, "verifier"), shown(page.verdict || ""), page.answer ? el("span", { class: "soft" }, "  final answer ", el("span", { class: "mono" }, shown(page.answer.slice(0, 400)))) : null,
      page.well_formed === false ? el("span", { class: "wrong" }, "  not in the form asked for") : null) : "",
    el("section", { "aria-labelledby": "answer-title" },
      el("div", { class: "section-head" }, el("h2", { id: "answer-title" }, page.heard ? "The conversation" : "The answer"),
        el("div", { class: "signals", role: "group", "aria-label": "Colour the tokens by" }, names.map((name, k) => el("button", { type: "button", "aria-pressed": String(name === view.signal), onclick: () => colourBy(name) },
          scaleOf(overview, name).title, k < 9 ? el("kbd", { "aria-hidden": "true" }, String(k + 1)) : null)))),
      names.length ? legend(scale, range) : el("p", { class: "soft small" }, "No number a token was kept with this rollout."),
      drawCurve(page, overview, view), drawAnswer(page, overview, view), drawSpans(page, (s) => focusToken(s.start), (s) => { detail.classList.remove("idle"); detail.replaceChildren(drawSpan(page, s)); }),
      page.unread.length ? el("p", { class: "soft small" }, `Not read: ${page.unread.join("; ")}.`) : null),
    drawContexts(page), drawFeedback(page), elsewhere.node);
  afterPaint(() => { if (state.page === page) elsewhere.fill(); prefetch(); });
  showToken(state.token !== null && state.token < page.tokens.length ? state.token : null);
  document.title = `${(page.question ?? "").slice(0, 40) || overview.name} - frown look`;
}
// What a reader is not yet looking at waits until what they are looking at is on the screen.
const afterPaint = (act) => requestAnimationFrame(() => setTimeout(act, 0));
function prefetch() {
  const k = state.shown.indexOf(state.at);
  if (k >= 0) [state.shown[k + 1], state.shown[k - 1]].filter((i) => i !== undefined).forEach((i) => source.page(i).catch(() => {}));
}
function redrawElsewhere(focus) {
  comparison = makeComparison(source, overview, { ...state, signal: state.drawn }, (j) => hashOf({ id: keyOf(j), token: null }), open);
  const fresh = comparison.section((tab, again) => { state.tab = tab; remember(); redrawElsewhere(again); });
  document.getElementById("elsewhere").replaceWith(fresh.node);
  if (focus) document.getElementById(`tab-${state.tab}`)?.focus();
  return fresh.fill();
}
function colourBy(name) {
  const had = document.activeElement?.closest(".signals") !== null, scroll = main.scrollTop;
  state.signal = state.drawn = name;
  draw();
  main.scrollTop = scroll;
  remember();
  if (had) main.querySelector(".signals [aria-pressed=true]")?.focus();
}

const tokenNode = (i) => main.querySelector(`#answer .t[data-i="${i}"]`);
function showToken(i) {
  main.querySelectorAll("#answer .t.here").forEach((n) => n.classList.remove("here"));
  detail.classList.toggle("idle", i === null);
  if (i === null) { detail.replaceChildren(el("h2", {}, "Details"), el("p", { class: "soft" }, "Point at a token, or press → to go from token to token.")); return; }
  detail.replaceChildren(...drawToken(state.page, overview, i, state.drawn).filter(Boolean));
  tokenNode(i)?.classList.add("here");
}
function focusToken(i) {
  if (i < 0 || i >= state.page.tokens.length) return;
  let node = tokenNode(i);
  if (!node) { // in a stretch that is still plain text
    for (const far of main.querySelectorAll("#answer .tokens")) far.fill?.();
    node = tokenNode(i);
  }
  main.querySelector("#answer .t[tabindex='0']")?.setAttribute("tabindex", "-1");
  node.setAttribute("tabindex", "0");
  node.focus();
  node.scrollIntoView({ block: "nearest" });
}
function choose(i) {
  state.token = i;
  showToken(i);
  main.querySelector(".curve")?.replaceWith(drawCurve(state.page, overview, { ...state, signal: state.drawn }));
  remember();
}
main.addEventListener("focusin", (event) => { if (event.target.matches("#answer .t")) choose(Number(event.target.dataset.i)); });
main.addEventListener("mouseover", (event) => {
  const t = event.target.closest("#answer .t");
  if (t) { detail.setAttribute("aria-live", "off"); showToken(Number(t.dataset.i)); detail.setAttribute("aria-live", "polite"); }
});
main.addEventListener("mouseout", (event) => { if (event.target.closest("#answer .t") && !event.relatedTarget?.closest?.("#answer .t")) showToken(state.token); });
main.addEventListener("click", (event) => {
  const t = event.target.closest("#answer .t"), curve = event.target.closest(".curve");
  if (t) focusToken(Number(t.dataset.i));
  else if (curve) {
    const box = curve.getBoundingClientRect();
    focusToken(Math.min(state.page.tokens.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * state.page.tokens.length))));
  }
});

// The same prompt at the next (or last) training step of the same run: the same row where there is one.
async function throughTime(by) {
  const c = overview.columns, found = await source.history(state.at);
  const mine = found.answers.map((a) => a.position).filter((j) => c.run[j] === c.run[state.at]);
  const steps = unique(mine.map((j) => c.step[j])).sort((a, b) => a - b), to = steps[steps.indexOf(c.step[state.at]) + by];
  if (to === undefined) return say(by > 0 ? "This prompt was not asked at a later step." : "This prompt was not asked at an earlier step.");
  const there = mine.filter((j) => c.step[j] === to), rank = mine.filter((j) => c.step[j] === c.step[state.at]).indexOf(state.at);
  await open(there.find((j) => c.row[j] === c.row[state.at]) ?? there[Math.min(rank, there.length - 1)]);
}
const say = (words) => { detail.classList.remove("idle"); detail.replaceChildren(el("p", {}, words)); };

const KEYS = [
  ["j k", "next, previous rollout in the list"], ["1 … 9", "colour by this signal"], ["← →", "from token to token; ↑ ↓ from step to step"],
  ["n p", "next, previous span"], ["[ ]", "the same prompt at the last, the next training step"], ["g t a", "the group, through training, the other arms"],
  ["/", "search"], ["Esc", "leave the search, let the token go"], ["?", "this page"],
];
function help() {
  const dialog = document.getElementById("help");
  const swatches = (list) => el("span", { class: "ramp" }, list.map((s) => el("i", { class: s })));
  dialog.replaceChildren(
    el("button", { type: "button", class: "close", onclick: () => dialog.close() }, "Close"), el("h2", { id: "help-title" }, "Keys and colours"),
    el("h3", {}, "Keys"), el("dl", {}, KEYS.flatMap(([keys, words]) => [el("dt", {}, keys.split(" ").map((k) => [el("kbd", {}, k), " "])), el("dd", {}, words)])),
    el("h3", {}, "Colours"), el("dl", {}, el("dt", {}, swatches(["v1", "v3", "v5", "v8"])), el("dd", {}, "from unremarkable to remarkable; of margins and probabilities the low end is"),
      el("dt", {}, swatches(["n4", "n2", "p2", "p4"])), el("dd", {}, "below and above zero"),
      el("dt", {}, el("span", { class: "none" }, "grey text")), el("dd", {}, "no value at this token")),
    el("h3", {}, "Quadrants of a step"), el("dl", {}, overview.quadrants.flatMap((name) => [el("dt", {}, mark(name)), el("dd", {}, QUADRANT[name])])),
    el("p", { class: "soft small" }, "A step is doubtful when a token sampled in it had less than even odds. An answer stands in the list by the gravest of its steps. In a conversation the steps are the policy's turns; what others said has no colours."),
    el("h3", {}, "Labels"), el("dl", {}, overview.labels.flatMap((name) => [el("dt", {}, el("span", { class: `l-${name} u-${name}` }, name)), el("dd", {}, LABELLED[name] || "")])),
  );
  dialog.showModal();
}
const LABELLED = { doubt: "the sampled token had less than even odds", frustration: "entropy far above what is usual here", confusion: "siblings disagree, and the distribution is long-tailed",
  ambivalence: "two continuations nearly equally likely", overconfidence: "sure, and wrong", confidence: "sure, and right" };

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open || !state.page) return;
  const field = event.target.matches("input, select, textarea");
  if (event.key === "Escape") {
    if (field) event.target.blur();
    state.token = null;
    showToken(null);
    return remember();
  }
  if (field) return;
  const { page } = state, at = state.token ?? -1, inList = event.target.closest("#list"), onToken = event.target.matches("#answer .t");
  const stepAt = page.steps.findIndex((s) => s.start <= at && at < s.end);
  const starts = [...new Set(page.spans.map((s) => s.start))].sort((a, b) => a - b);
  const names = Object.keys(page.signals);
  const acts = {
    j: () => list.move(1), k: () => list.move(-1), "/": () => document.getElementById("query").focus(), "?": help,
    "[": () => throughTime(-1), "]": () => throughTime(1),
    n: () => focusToken(starts.find((s) => s > at) ?? -1), p: () => focusToken(starts.filter((s) => s < at).at(-1) ?? -1),
    ...Object.fromEntries(Object.entries(TABS).map(([tab, [, key]]) => [key, () => { state.tab = tab; remember(); redrawElsewhere().then(() => document.getElementById("elsewhere").scrollIntoView({ block: "start" })); }])),
  };
  const free = !inList && (onToken || event.target === document.body || event.target === main);
  if (free) Object.assign(acts, {
    ArrowRight: () => focusToken(at + 1), ArrowLeft: () => focusToken(Math.max(0, at - 1)),
    ...(onToken ? { Home: () => focusToken(0), End: () => focusToken(page.tokens.length - 1), ArrowDown: () => focusToken(page.steps[stepAt + 1]?.start ?? at), ArrowUp: () => focusToken(page.steps[Math.max(0, stepAt - 1)]?.start ?? at),
      Enter: () => choose(at), " ": () => choose(at) } : {}),
  });
  if (/^[1-9]$/.test(event.key) && names[event.key - 1]) acts[event.key] = () => colourBy(names[event.key - 1]);
  if (acts[event.key]) { event.preventDefault(); acts[event.key](); }
});

const THEMES = ["auto", "light", "dark"];
function setTheme(name) {
  if (name === "auto") delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = name;
  const button = document.getElementById("theme");
  button.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[name];
  button.setAttribute("aria-label", `Theme: ${name}`);
}

async function start() {
  overview = await source.overview();
  document.getElementById("name").textContent = overview.name;
  let theme = 0;
  setTheme("auto");
  document.getElementById("theme").addEventListener("click", () => setTheme(THEMES[(theme = (theme + 1) % 3)]));
  document.getElementById("help-open").addEventListener("click", help);
  document.getElementById("link").addEventListener("click", async (event) => {
    const done = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
    event.target.textContent = done ? "Copied" : "It is the address";
    setTimeout(() => { event.target.textContent = "Copy link"; }, 1500);
  });
  document.getElementById("toggle-list").addEventListener("click", (event) => {
    const on = document.getElementById("pane").classList.toggle("open");
    event.target.setAttribute("aria-expanded", String(on));
    list.draw();
  });
  let typing;
  document.getElementById("query").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => changeFilter({ q: event.target.value }), 250);
  });
  list = makeList(overview, state, (i) => {
    document.getElementById("pane").classList.remove("open");
    document.getElementById("toggle-list").setAttribute("aria-expanded", "false");
    return open(i);
  });
  addEventListener("popstate", follow);
  await follow();
}
// Go where the address says.
async function follow() {
  Object.assign(state, readHash());
  document.getElementById("query").value = state.q;
  await applyFilters();
  if (!named) named = new Map(Array.from({ length: overview.count }, (_, i) => [keyOf(i), i]));
  const at = named.get(state.id) ?? state.shown[0] ?? (overview.count ? overview.columns.order[0] : -1);
  if (at < 0) return main.replaceChildren(el("p", { class: "empty" }, "There is no rollout here."));
  const missing = state.id && !named.has(state.id) ? state.id : null, token = state.token;
  state.page = null;
  await open(at, { token, push: false });
  if (token !== null) focusToken(token);
  if (missing) say(`The link names ${missing}, which is not here; this is the first of the list.`);
}
start().catch((error) => main.replaceChildren(el("p", { class: "error", role: "alert" }, `The rollouts cannot be read: ${error.message || error}`)));
