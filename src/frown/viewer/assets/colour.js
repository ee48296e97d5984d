// From a value to one of the nine steps of a colour ramp, or of the signed one.

const scaleOf = (overview, name) => overview.scales.find((s) => s.name === name)
  || { name, title: name.replaceAll("_", " "), unit: "", direction: "high", bounds: null, note: "" };

function rangeOf(scale, values) {
  if (scale.bounds) return { low: scale.bounds[0], high: scale.bounds[1], own: false };
  let low = Infinity, high = -Infinity;
  for (const v of values) if (Number.isFinite(v)) { low = Math.min(low, v); high = Math.max(high, v); }
  if (!(high >= low)) return { low: 0, high: 1, own: true };
  if (scale.direction === "both") { high = Math.max(Math.abs(low), Math.abs(high)) || 1; return { low: -high, high, own: true }; }
  if (scale.direction === "high" && low >= 0) low = 0;
  return { low, high: high > low ? high : low + 1, own: true };
}
function level(value, scale, range) {
  if (!Number.isFinite(value)) return "none";
  if (scale.direction === "both") {
    const at = Math.round(Math.max(-1, Math.min(1, value / range.high)) * 4);
    return at === 0 ? "v0" : at > 0 ? `p${at}` : `n${-at}`;
  }
  const share = Math.max(0, Math.min(1, (value - range.low) / (range.high - range.low)));
  return `v${Math.round((scale.direction === "low" ? 1 - share : share) * 8)}`;
}
function legend(scale, range) {
  const steps = scale.direction === "both" ? ["n4", "n3", "n2", "n1", "v0", "p1", "p2", "p3", "p4"]
    : ["v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8"];
  if (scale.direction === "low") steps.reverse();
  const open = scale.bounds && scale.unit !== "probability";
  const ends = [`${open && scale.direction === "both" ? "≤ " : ""}${number(range.low)}`, `${open ? "≥ " : ""}${number(range.high)}`];
  return el("div", { class: "legend" },
    el("span", { class: "ends" }, ends[0], el("span", { class: "ramp", "aria-hidden": "true" }, steps.map((s) => el("i", { class: s }))), ends[1], scale.unit ? ` ${scale.unit}` : ""),
    el("span", {}, `${scale.note}${scale.note ? "; " : ""}${range.own ? "range of this answer" : "the same range in every answer"}`));
}
