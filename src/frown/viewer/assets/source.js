// Where the page gets its data: from itself, or from the server that served it. Both answer the same questions.

const decode = (text, Kind) => {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Kind(bytes.buffer);
};
const REALS = new Set(["score", "doubt", "sure"]);

const opened = (overview) => ({
  ...overview,
  columns: Object.fromEntries(
    Object.entries(overview.columns).map(([name, text]) => [name, decode(text, REALS.has(name) ? Float32Array : Int32Array)]),
  ),
});
const readPage = (page) => ({
  ...page,
  signals: Object.fromEntries(Object.entries(page.signals).map(([name, text]) => [name, decode(text, Float32Array)])),
});
const searched = (page) => [page.question, page.text, page.verdict, ...page.feedback.map((part) => part.text)];

function fromFile(held) {
  const overview = opened(held.overview), { columns } = overview, pages = new Map();
  const page = (i) => {
    if (!pages.has(i)) pages.set(i, readPage(held.pages[i]));
    return pages.get(i);
  };
  const alike = (i) => (j) => columns.task[j] === columns.task[i] && columns.split[j] === columns.split[i]
    && overview.runs[columns.run[j]].seed === overview.runs[columns.run[i]].seed;
  return {
    overview: async () => overview,
    page: async (i) => page(i),
    history: async (i) => ({
      all: held.fates[i].all,
      fates: held.fates[i].fates,
      answers: held.pages.map((_, j) => j).filter(alike(i)).map((j) => ({
        position: j,
        doubt: held.pages[j].steps.map((s) => s.doubt),
        right: held.pages[j].steps.map((s) => s.right),
      })),
    }),
    search: async (query) => {
      const words = query.toLowerCase();
      const hit = (page) => searched(page).some((text) => text && text.toLowerCase().includes(words));
      return new Set(held.pages.flatMap((page, i) => (hit(page) ? [i] : [])));
    },
  };
}

function fromServer() {
  const ask = async (path) => {
    const answer = await fetch(path, { cache: "no-store" });
    if (!answer.ok) throw new Error(`the server said ${answer.status}; is frown look still running?`);
    return answer.json();
  };
  const kept = new Map();
  const page = (i) => {
    if (!kept.has(i)) kept.set(i, ask(`api/page?at=${i}`).then(readPage));
    if (kept.size > 300) kept.delete(kept.keys().next().value);
    kept.get(i).catch(() => kept.delete(i));
    return kept.get(i);
  };
  return {
    overview: async () => opened(await ask("api/overview")),
    page,
    history: (i) => ask(`api/history?at=${i}`),
    search: async (query) => new Set(await ask(`api/search?q=${encodeURIComponent(query)}`)),
  };
}
