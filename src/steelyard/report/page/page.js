// The page: what is wrong first, then the weights at a glance, one of them closely, and all of them.

let subset = null; // the rows of an alarm that was pressed
const search = element("input", { type: "search", id: "filter", autocomplete: "off", spellcheck: "false",
  "aria-describedby": "filter-help", input: () => refilter(), placeholder: "kernel alpha>6" });
const statuses = element("select", { id: "statuses", change: () => refilter() });
const onlySubset = element("button", { type: "button", class: "chip", hidden: true, click: () => { subset = null; refilter(); } });
let weightTable = null;
// A pure number, that of the entries and its square say nothing that the name does not.
const PLAIN_UNITS = ["1", "w", "w\u00b2", "count"];

function overview() {
  const list = element("ul", { class: "alarms" }, ...page.alarms.map(alarm));
  const unchecked = page.unchecked.length
    ? element("p", { class: "unchecked" }, `Not looked for, since it was not measured: ${page.unchecked.join("; ")}.`) : null;
  return element("section", { "aria-labelledby": "overview" },
    element("h2", { id: "overview" }, page.verdict), list, unchecked);
}

function alarm(told) {
  const words = { wrong: "Wrong", look: "Look", note: "Note" }[told.level];
  const links = told.rows.slice(0, 4).map((row) => element("button", { type: "button", class: "link", click: () => { select(row); } }, weights.addresses[row]));
  const elsewhere = told.elsewhere.slice(0, 4).map((place) => element("span", { class: "place" }, place));
  const all = told.rows.length > 4
    ? element("button", { type: "button", class: "chip", click: () => { subset = told; refilter(); search.focus(); } },
      `show all ${told.rows.length.toLocaleString("en-US")}`) : null;
  return element("li", { class: told.level },
    element("span", { class: "level", title: page.levels[told.level] }, words),
    element("div", {}, element("strong", {}, told.title), ` ${told.sentence} `,
      element("span", { class: "places" }, ...links, ...elsewhere, all)));
}

function refilter() {
  const asked = condition(search.value, weights.columns);
  const wanted = statuses.value;
  const inSubset = subset && new Set(subset.rows);
  const kept = weights.addresses.map((_, row) => row).filter((row) =>
    asked.fits(row) && (!inSubset || inSubset.has(row)) && (!wanted || hasStatus(row, wanted)));
  onlySubset.hidden = !subset;
  onlySubset.textContent = subset ? `only: ${subset.title} \u00d7` : "";
  weightTable.filter(kept);
  say(asked.problems.length ? `The filter cannot be understood: ${asked.problems.join(", ")}.`
    : `${counted(kept.length, "weight")} of ${weights.addresses.length.toLocaleString("en-US")}.`);
}

function hasStatus(row, wanted) {
  return weights.columns.some((column) => {
    const told = column.status[row];
    return told && (wanted === "any" ? told[0] !== "not applicable" : told[0] === wanted);
  });
}

function controls() {
  const there = new Set(weights.columns.flatMap((column) => Object.values(column.status).map((told) => told[0])));
  const named = Object.keys(SIGNS).filter((one) => there.has(one));
  statuses.append(element("option", { value: "" }, "any status"), element("option", { value: "any" }, "with a remark"),
    ...named.map((one) => element("option", { value: one }, one)));
  return element("div", { class: "controls" },
    element("label", { for: "filter" }, "Filter"), search,
    element("label", { for: "statuses", class: "unseen" }, "Status"), statuses, onlySubset,
    element("span", { id: "said", role: "status" }, counted(weights.addresses.length, "weight") + "."),
    element("span", { id: "filter-help", class: "help" }, "Words of the address, * for any letters, and conditions such as alpha>6."));
}

function tableOfWeights() {
  const shownColumns = weights.columns.filter((column) => column.kind !== "many");
  const columns = [
    { name: "address", key: (row) => weights.addresses[row], cell: (row) => weights.addresses[row],
      content: (row) => element("button", { type: "button", class: "link", click: () => select(row) }, weights.addresses[row]) },
    ...shownColumns.map((column) => ({
      name: column.name, number: column.kind === "number",
      title: [column.says, column.unit === "1" ? "" : `Unit: ${column.unit}.`].filter(Boolean).join(" "),
      key: (row) => (column.kind === "number" ? number(column.values[row]) : column.values[row] ?? ""),
      cell: (row) => {
        const told = column.status[row];
        const sign = told ? SIGNS[told[0]] : "";
        return told && column.values[row] !== null ? `${shown(column.values[row])} ${sign}` : shown(column.values[row]) || sign;
      },
      hint: (row) => { const told = status(column, row); return told ? `${told.status}: ${told.reason}` : null; },
    })),
  ];
  weightTable = sortable({
    caption: "Weights", columns, rows: weights.addresses.map((_, row) => row),
    selected: () => state.selected,
    changed: (rows) => { state.visible = rows; tell("visible"); },
  });
  state.listeners.push((what) => { if (what === "selected") weightTable.mark(); });
  return weightTable.node;
}

function closely() {
  const section = element("section", { class: "closely", "aria-label": "The selected weight" });
  state.listeners.push((what) => { if (what === "selected") section.replaceChildren(...told(state.selected)); });
  return section;
}

function told(row) {
  const parts = [element("h2", {}, weights.addresses[row])];
  if (weights.spectra[row]) parts.push(spectrumPlot(row));
  else parts.push(element("p", { class: "help" }, noSpectrum(row)));
  parts.push(...curvesOf(weights.addresses[row]));
  const remarks = new Map();
  for (const column of weights.columns) {
    const said = status(column, row);
    if (!said) continue;
    const text = `${said.status}: ${said.reason}`;
    remarks.set(text, [...(remarks.get(text) || []), column.name]);
  }
  if (remarks.size) parts.push(element("ul", { class: "remarks" },
    ...[...remarks].map(([text, names]) => element("li", {}, `${names.join(", ")} \u2013 ${text}`))));
  parts.push(element("dl", {}, ...weights.columns.filter((column) => column.values[row] !== null && column.kind !== "many")
    .map((column) => element("div", {}, element("dt", { title: column.says || null }, column.name),
      element("dd", {}, shown(column.values[row]) + (PLAIN_UNITS.includes(column.unit) ? "" : ` ${column.unit}`)
        + (column.bounds[row] === undefined ? "" : ` \u00b1 ${shown(column.bounds[row])}`))))));
  return parts;
}

function noSpectrum(row) {
  const column = weights.columns.find((one) => one.name === "singular_values");
  const said = column && status(column, row);
  if (said) return `No spectrum: ${said.reason}.`;
  if (column && column.values[row] !== null) return "No spectrum: all singular values are 0.";
  return "The singular values are not among these readings, so the spectrum is not drawn; what was fitted to it is below. "
    + "Measured with singular_values as well, it would be here.";
}

function differences() {
  const told = page.changes;
  if (!told) return null;
  const columns = told.head.map((name, i) => ({ name, cell: (row) => told.rows[row][i], key: (row) => told.rows[row][i] }));
  const [kind, address, ...others] = columns;
  const amount = { name: "amount", number: true, title: "The norm of the difference over that of the first value.",
    key: (row) => number(told.amounts[row]), cell: (row) => shown(told.amounts[row]) };
  const table = sortable({ caption: "Differences", columns: [address, kind, amount, ...others], rows: told.rows.map((_, row) => row),
    atOnce: 12 }); // few: the weights come below
  table.draw();
  return element("section", { "aria-labelledby": "differences" },
    element("h2", { id: "differences" }, told.identical ? "No difference" : "Differences"),
    element("p", {}, `From ${told.first} to ${told.second}: ${told.summary}.`), told.rows.length ? table.node : null);
}

function start() {
  const some = weights.addresses.length > 0;
  const parts = [
    element("header", {}, element("h1", {}, page.title), element("p", { class: "facts" }, page.facts.join(" \u00b7 "))),
    overview(),
    training(),
    differences(),
  ];
  if (some) {
    const table = tableOfWeights();
    parts.push(controls(), element("div", { class: "glance" }, heatMap(), closely()),
      element("section", { "aria-label": "All weights" }, table));
  }
  document.body.append(element("main", {}, ...parts.filter(Boolean)));
  if (!some) return;
  weightTable.draw();
  const first = page.alarms.find((one) => one.rows.length && one.level !== "note");
  const drawable = Object.keys(weights.spectra).map(Number);
  select(first ? first.rows[0] : drawable.length ? drawable[0] : 0);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tell("colors"));
  matchMedia("print").addEventListener("change", () => tell("colors"));
}

start();
