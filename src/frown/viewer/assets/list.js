// Which rollouts are shown: filters, order, and a list that draws only the rows in sight.

const ROW = 58;
const bits = (names, chosen) => chosen.reduce((sum, name) => sum | (1 << names.indexOf(name)), 0);
const unique = (values) => [...new Set(values)];

function rewardOf(score) {
  return Number.isNaN(score) ? "unscored" : score >= 1 ? "right" : score > 0 ? "partly" : "wrong";
}
// A score in words and its class: right or wrong only where no score of the run is a grade.
function judgement(overview, score) {
  const is = rewardOf(score);
  if (is === "unscored") return [is, "soft"];
  return overview.graded ? [`reward ${number(score, 2)}`, "soft"] : [is, is];
}
// How good some answers are: so many right, or their mean reward; unscored ones are no part of the mean.
function together(overview, scores) {
  if (!overview.graded) return `${scores.filter((s) => s >= 1).length} of ${scores.length} right`;
  const known = scores.filter((s) => !Number.isNaN(s));
  return known.length ? `mean reward ${number(known.reduce((a, b) => a + b, 0) / known.length, 2)}` : "unscored";
}

// Positions that pass, in order. `skip`: a filter that is not applied, for counting what it could choose.
function passing(overview, state, skip = "") {
  const { columns } = overview;
  const quadrants = skip === "quadrant" ? 0 : bits(overview.quadrants, state.quadrant);
  const labels = skip === "label" ? 0 : bits(overview.labels, state.label);
  const runs = overview.runs.map((r) => (!state.arm || r.arm === state.arm) && (state.seed === "" || String(r.seed) === state.seed));
  const split = state.split ? overview.splits.indexOf(state.split) : -1;
  const step = state.step === "" ? null : Number(state.step);
  const pass = (i) => runs[columns.run[i]]
    && (split < 0 || columns.split[i] === split) && (step === null || columns.step[i] === step)
    && (!quadrants || (columns.quadrants[i] & quadrants)) && (!labels || (columns.labels[i] & labels))
    && (!state.reward || rewardOf(columns.score[i]) === state.reward) && (!state.hits || state.hits.has(i));
  return Array.from(columns.order).filter(pass);
}
const last = (x) => (Number.isNaN(x) ? Infinity : x);
const ORDERS = {
  grave: ["Gravest first", null],
  time: ["Training time", (c) => (a, b) => c.run[a] - c.run[b] || c.step[a] - c.step[b] || c.split[a] - c.split[b] || c.row[a] - c.row[b]],
  doubt: ["Most doubtful", (c) => (a, b) => last(-c.doubt[a]) - last(-c.doubt[b])],
  reward: ["Lowest reward", (c) => (a, b) => last(c.score[a]) - last(c.score[b])],
  length: ["Longest", (c) => (a, b) => c.length[b] - c.length[a]],
};
function ordered(overview, state) {
  const found = passing(overview, state), by = (ORDERS[state.order] || ORDERS.grave)[1];
  return by ? found.sort(by(overview.columns)) : found;
}

function drawFilters(overview, state, change) {
  const { columns } = overview, box = document.getElementById("filters");
  const unfolded = box.querySelector("details")?.open ?? (innerHeight >= 1000 || ["arm", "seed", "split", "step", "reward"].some((n) => state[n] !== "") || state.label.length > 0);
  const had = document.activeElement?.id; // a filter keeps the focus when it is drawn anew
  const chips = (name, title, names, words, sign, column) => {
    const left = passing(overview, state, name);
    const counts = names.map((_, k) => left.reduce((n, i) => n + ((columns[column][i] >> k) & 1), 0));
    return el("div", { class: "chips", role: "group", "aria-label": title }, names.map((value, k) => {
      const on = state[name].includes(value);
      if (!counts[k] && !on) return null;
      return el("button", { type: "button", id: `${name}-${value}`, class: "chip", "aria-pressed": String(on),
        onclick: () => change({ [name]: on ? state[name].filter((v) => v !== value) : [...state[name], value] }) },
      sign(value), el("span", { class: "words" }, words(value)), el("span", { class: "count", title: `${amount(counts[k])} rollouts` }, short(counts[k])));
    }));
  };
  const choose = (name, title, options) => options.length < 3 ? null : el("label", {}, title, el("select", { id: `choose-${name}`,
    onchange: (event) => change({ [name]: event.target.value }) },
  options.map(([value, words]) => el("option", { value, selected: state[name] === value }, words))));
  const values = (list) => [["", "all"], ...list.map((v) => [String(v), String(v)])];
  const runs = overview.runs, active = ["arm", "seed", "split", "step", "reward", "q"].some((n) => state[n] !== "") || state.quadrant.length || state.label.length;
  box.replaceChildren(
    chips("quadrant", "Quadrant of any step", overview.quadrants, (q) => QUADRANT[q], mark, "quadrants"),
    el("details", { open: unfolded }, el("summary", { id: "unfold" }, "More filters and order"),
    chips("label", "Label of any span", overview.labels, (l) => l, () => null, "labels"),
    el("div", { class: "selects" }, [
      choose("arm", "Arm", values(unique(runs.map((r) => r.arm)))),
      choose("seed", "Seed", values(unique(runs.map((r) => r.seed)).filter((s) => s !== null))),
      choose("split", "Answers of", [["", "all"], ...overview.splits.map((s) => [s, s === "train" ? "training" : `evaluation (${s})`])]),
      choose("step", "Training step", values(unique(Array.from(columns.step)).sort((a, b) => a - b))),
      choose("reward", "Reward", [["", "all"], ["right", overview.graded ? "full" : "right"], ["partly", "in between"], ["wrong", "none"], ["unscored", "unscored"]]),
      choose("order", "Order", Object.entries(ORDERS).map(([value, [words]]) => [value, words])),
    ])),
    active ? el("div", { class: "more" }, el("span", { class: "soft small" }, `${amount(state.shown.length)} of ${amount(overview.count)}`),
      el("button", { type: "button", id: "clear", onclick: () => change({ quadrant: [], label: [], arm: "", seed: "", split: "", step: "", reward: "", q: "" }) }, "Show all")) : "",
  );
  if (had) document.getElementById(had)?.focus();
}

function makeList(overview, state, open) {
  const { columns } = overview, box = document.getElementById("list"), room = el("div", { class: "room", role: "presentation" });
  box.replaceChildren(room);
  const row = (i, at) => {
    const q = overview.quadrants[columns.quadrant[i]], run = overview.runs[columns.run[i]], [words, kind] = judgement(overview, columns.score[i]);
    const node = el("div", { class: "row", role: "option", id: `row-${i}`, "data-at": String(i), "aria-selected": String(i === state.at),
      "aria-posinset": String(at + 1), "aria-setsize": String(state.shown.length) },
    el("div", { class: "ask" }, mark(q), el("span", {}, shown(overview.questions[columns.task[i]].slice(0, 90) || "(no question kept)", { breaks: false }))),
    el("div", { class: "facts" },
      el("span", { class: kind === "soft" ? "" : kind }, words),
      el("span", {}, `${run.key}`), el("span", {}, `${overview.splits[columns.split[i]] === "train" ? "" : `${overview.splits[columns.split[i]]} `}step ${columns.step[i]}`),
      el("span", { title: "largest doubt, nats" }, nats(columns.doubt[i]))));
    node.style.top = `${at * ROW}px`;
    return node;
  };
  const draw = () => {
    const height = box.clientHeight || 600;
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - 8), until = Math.min(state.shown.length, first + Math.ceil(height / ROW) + 16);
    room.style.height = `${state.shown.length * ROW}px`;
    const rows = [];
    for (let k = first; k < until; k++) rows.push(row(state.shown[k], k));
    room.replaceChildren(...rows);
    if (!state.shown.length) room.replaceChildren(el("p", { class: "empty", role: "option", "aria-selected": "false" }, "Nothing passes these filters."));
    const here = document.getElementById(`row-${state.at}`);
    if (here) box.setAttribute("aria-activedescendant", here.id); else box.removeAttribute("aria-activedescendant");
  };
  const reveal = () => {
    const k = state.shown.indexOf(state.at);
    if (k >= 0) {
      if (k * ROW < box.scrollTop) box.scrollTop = Math.max(0, (k - 1) * ROW);
      else if ((k + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (k + 2) * ROW - box.clientHeight;
    }
    draw();
  };
  const move = (by) => {
    if (!state.shown.length) return;
    const k = state.shown.indexOf(state.at);
    open(state.shown[k < 0 ? 0 : Math.max(0, Math.min(state.shown.length - 1, k + by))]);
  };
  box.addEventListener("scroll", () => requestAnimationFrame(draw));
  new ResizeObserver(draw).observe(box);
  box.addEventListener("click", (event) => {
    const hit = event.target.closest("[data-at]");
    if (hit) open(Number(hit.dataset.at));
  });
  box.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    move(by);
  });
  return { draw, reveal, move };
}
