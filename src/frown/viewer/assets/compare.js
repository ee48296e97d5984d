// The same prompt elsewhere: the other answers of the group, the same prompt through training, the other arms.

const TABS = { group: ["The group", "g"], time: ["Through training", "t"], arms: ["Other arms", "a"] };
const FATE = {
  corrected: "was wrong, is right and sure", settled: "was right, is right and sure", suppressed: "is sure and wrong",
  persisted: "still doubtful", avoided: "does not come there any more",
};

// The steps of an answer as marks (sure: filled, doubtful: hollow) over bars of their doubt.
function stepMarks(answer, threshold) {
  const n = answer.doubt.length, width = Math.max(4, Math.min(13, 220 / Math.max(n, 1))), r = Math.max(1.5, Math.min(4, width / 2 - 1));
  const words = answer.doubt.map((d, k) => `${k + 1} ${answer.right[k] === null ? "not judged" : answer.right[k] ? "right" : "wrong"}${d > threshold ? ", doubtful" : ""}`).join("; ");
  const drawing = svg("svg", { width: Math.max(8, n * width), height: 36, role: "img", "aria-label": n ? `steps: ${words}` : "no steps" });
  answer.doubt.forEach((d, k) => {
    const is = answer.right[k] === null ? "unknown" : answer.right[k] ? "right" : "wrong", x = k * width + width / 2;
    drawing.append(svg(is === "wrong" ? "rect" : "circle", is === "wrong"
      ? { class: `glyph ${is} ${d > threshold ? "" : "sure"}`, x: x - r * 0.85, y: 6 - r * 0.85, width: r * 1.7, height: r * 1.7, transform: `rotate(45 ${x} 6)` }
      : { class: `glyph ${is} ${d > threshold ? "" : "sure"}`, cx: x, cy: 6, r }));
    drawing.append(svg("rect", { class: `bar-${is}`, x: x - Math.max(1, width / 4), y: 14, width: Math.max(2, width / 2), height: Math.max(1, Math.min(22, (d ?? 0) * 6)), rx: 1 }));
  });
  return drawing;
}

function makeComparison(source, overview, state, link, open) {
  const { columns } = overview;
  const title = (i) => `${overview.runs[columns.run[i]].key} ${overview.splits[columns.split[i]] === "train" ? "" : `${overview.splits[columns.split[i]]} `}step ${columns.step[i]}, row ${columns.row[i]}`;
  const score = (i) => judgement(overview, columns.score[i]);

  async function other(i) {
    const page = await source.page(i), { paint } = painter(page, overview, state.signal), until = Math.min(page.tokens.length, 400);
    return el("div", { class: `other${i === state.at ? " this" : ""}` },
      el("a", { href: link(i), "aria-current": i === state.at ? "true" : null }, mark(overview.quadrants[columns.quadrant[i]]), el("span", { title: title(i) }, `Answer ${columns.row[i] + 1}`),
        el("span", { class: score(i)[1] }, score(i)[0])),
      el("div", { class: "tokens", dir: "ltr" }, tokenNodes(page, 0, until, paint, false), until < page.tokens.length ? el("span", { class: "soft" }, ` … ${page.tokens.length - until} more tokens`) : null));
  }
  const cards = async (list, most = 24) => [...await Promise.all(list.slice(0, most).map(other)), list.length > most ? el("p", { class: "soft" }, `${list.length - most} more are in the list.`) : null].filter(Boolean);
  const here = (j) => columns.step[j] === columns.step[state.at], sameRun = (j) => columns.run[j] === columns.run[state.at];

  async function group(found) {
    const list = found.answers.map((a) => a.position).filter((j) => sameRun(j) && here(j));
    return [el("p", { class: "soft small" }, `${list.length} answer${list.length === 1 ? "" : "s"} of this policy to this prompt, in the colours of ${scaleOf(overview, state.signal).title.toLowerCase()}.`),
      el("div", { class: "others" }, await cards(list))];
  }

  async function arms(found) {
    const list = found.answers.map((a) => a.position).filter(here), keys = unique(list.map((j) => columns.run[j])).sort((a, b) => a - b);
    if (keys.length < 2) return [el("p", { class: "soft" }, overview.runs.length < 2 ? "There is one run here. Open the folder of a comparison to see its arms side by side." : "No other arm answered this prompt at this step.")];
    return [el("p", { class: "soft small" }, "The same prompt at the same training step, arm beside arm."), el("div", { class: "others arms", role: "region", "aria-label": "Arms side by side", tabindex: "0" }, await Promise.all(keys.map(async (run) => {
      const own = list.filter((j) => columns.run[j] === run), how = together(overview, own.map((j) => columns.score[j]));
      return el("div", { class: "arm" }, el("h3", {}, overview.runs[run].key, el("span", { class: "soft small" }, how)), await cards(own, 8));
    })))];
  }

  async function time(found) {
    const mine = found.answers.filter((a) => sameRun(a.position)), at = unique(mine.map((a) => columns.step[a.position])).sort((a, b) => a - b);
    const slots = at.map((step) => mine.filter((a) => columns.step[a.position] === step)), most = Math.min(16, Math.max(...slots.map((s) => s.length)));
    const cell = (answer) => (answer ? el("button", { type: "button", class: `cell${answer.position === state.at ? " this" : ""}`, title: title(answer.position), onclick: () => open(answer.position),
      "aria-label": `${title(answer.position)}, ${score(answer.position)[0]}` }, stepMarks(answer, overview.threshold)) : "");
    const how = (slot) => together(overview, slot.map((a) => columns.score[a.position]));
    const out = [el("p", { class: "soft small" }, "Each answer to this prompt, step by written-out step. Filled marks are sure, hollow ones doubtful; diamonds are wrong, circles right; bars are doubt."),
      el("div", { class: "time", role: "region", "aria-label": "Answers through training", tabindex: "0" }, el("table", {},
        el("thead", {}, el("tr", {}, el("td", {}), at.map((step, k) => el("th", { scope: "col", class: step === columns.step[state.at] ? "this" : "" }, `step ${step}`, el("div", { class: "soft" }, how(slots[k])))))),
        el("tbody", {}, Array.from({ length: most }, (_, k) => el("tr", {}, el("th", { scope: "row" }, String(k + 1)), slots.map((slot) => el("td", {}, cell(slot[k]))))))))];
    if (at.length < 2) out.unshift(el("p", { class: "soft" }, "This prompt was asked at this training step alone; evaluations ask the same prompts again and again (filter: answers of the evaluation)."));
    const hidden = slots.reduce((n, s) => n + Math.max(0, s.length - most), 0) + found.all - found.answers.length;
    if (hidden > 0) out.push(el("p", { class: "soft small" }, `${amount(hidden)} more answers are in the list.`));
    return [...out, fates(found)];
  }

  function fates(found) {
    const box = el("div", { class: "fates" }, el("h2", {}, "What became of its doubts"));
    if (!found.fates.length) return box.append(el("p", { class: "soft" }, "This answer has no doubtful step whose fate can be told.")), box;
    box.append(el("p", { class: "soft small" }, "Each doubtful step of this answer, in the answers of the same run to the same prompt. The first row is the same policy's other answers: what no training would give."));
    found.fates.forEach((f) => {
      const s = state.page.steps[f.step];
      box.append(el("h3", {}, mark(s.quadrant), ` Step ${f.step + 1}`, el("span", { class: "soft small" }, `  ${QUADRANT[s.quadrant]}, doubt ${nats(s.doubt)} nats`)));
      f.after.forEach(({ step, counts }) => {
        const total = counts.reduce((a, b) => a + b, 0);
        const bars = overview.fates.map((name, k) => {
          if (!counts[k]) return null;
          const part = el("span", { class: `f-${name}`, title: `${name}: ${counts[k]} of ${total}` }, String(counts[k]));
          part.style.flexGrow = String(counts[k]);
          return part;
        });
        box.append(el("div", { class: "fate" }, el("span", { class: "num" }, step === columns.step[state.at] ? `step ${step}, other answers` : `step ${step}`),
          el("div", { class: "stack", role: "img", "aria-label": overview.fates.map((name, k) => `${name} ${counts[k]}`).join(", ") }, bars)));
      });
      if (!f.after.length) box.append(el("p", { class: "soft small" }, "No other judged answer at this step or later."));
    });
    box.append(el("div", { class: "keys" }, overview.fates.map((name) => el("span", {}, el("i", { class: `f-${name}` }), `${name}: ${FATE[name]}`))));
    return box;
  }

  const draw = { group, time, arms };
  async function fill(panel) {
    const at = state.at, tab = state.tab;
    try {
      const found = await source.history(at), nodes = await draw[tab](found);
      if (at === state.at && tab === state.tab) { panel.replaceChildren(...nodes); panel.removeAttribute("aria-busy"); }
      return found;
    } catch (error) { panel.replaceChildren(el("p", { class: "error" }, String(error.message || error))); }
  }
  function section(change) {
    const panel = el("div", { role: "tabpanel", id: "panel", "aria-labelledby": `tab-${state.tab}`, "aria-busy": "true" }, el("p", { class: "soft" }, "…"));
    const tabs = Object.entries(TABS).map(([name, [words, key]]) => el("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-selected": String(state.tab === name), "aria-controls": "panel",
      tabindex: state.tab === name ? "0" : "-1", onclick: () => change(name) }, words, " ", el("kbd", { "aria-hidden": "true" }, key)));
    const list = el("div", { role: "tablist", "aria-label": "The same prompt elsewhere", onkeydown: (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key], names = Object.keys(TABS);
      if (by) { event.preventDefault(); event.stopPropagation(); change(names[(names.indexOf(state.tab) + by + names.length) % names.length], true); }
    } }, tabs);
    return { node: el("section", { id: "elsewhere", "aria-label": "The same prompt elsewhere" }, list, panel), fill: () => fill(panel) };
  }
  return { section };
}
