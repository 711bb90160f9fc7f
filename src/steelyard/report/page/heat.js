// The heat map: a row for each weight of the table, in its order, a column for each metric.
// Only what is in view is drawn, so thousands of rows cost as little as thirty.

const ROW = 15, LABEL = 250, HEAD = 104;
const NARROWEST = 20, WIDEST = 34;

// How far each value is from the mean of its metric over some rows, in standard deviations. Of the
// logarithms, where positive values span more than a thousandfold.
function scores(column, rows) {
  let values = column.values.map(number);
  const finite = rows.map((row) => values[row]).filter(Number.isFinite);
  const least = finite.reduce((a, b) => Math.min(a, b), Infinity);
  const most = finite.reduce((a, b) => Math.max(a, b), -Infinity);
  const logs = least > 0 && most > 1000 * least;
  if (logs) values = values.map(Math.log10);
  const used = rows.map((row) => values[row]).filter(Number.isFinite);
  const mean = used.reduce((a, b) => a + b, 0) / used.length;
  const spread = Math.sqrt(used.reduce((a, b) => a + (b - mean) ** 2, 0) / used.length);
  const score = (value) => (spread > 0 ? (value - mean) / spread : value - value);
  return { logs, z: values.map(score) };
}

function heatMap() {
  const columns = weights.columns.filter((column) => column.kind === "number")
    .map((column) => ({ ...column, z: [] }));
  let pitch = NARROWEST;
  const canvas = element("canvas", { "aria-hidden": "true" });
  const option = element("div", { role: "option", id: "heat-option", class: "unseen", "aria-selected": "true" });
  const size = element("div", { class: "extent" });
  const meaning = element("span");
  const tip = element("div", { class: "tip", hidden: true, "aria-hidden": "true" });
  const box = element("div", {
    class: "heat", tabindex: 0, role: "listbox", "aria-activedescendant": "heat-option",
    "aria-label": "Heat map of the weights. The arrow keys choose a weight.",
    scroll: () => requestAnimationFrame(draw), keydown: keyed, click: clicked,
    pointermove: hovered, pointerleave: () => { tip.hidden = true; },
  }, canvas, size, option);

  function place(event) {
    const frame = box.getBoundingClientRect();
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    if (y < HEAD || y > box.clientHeight || x > box.clientWidth) return null;
    const index = Math.floor((y - HEAD + box.scrollTop) / ROW);
    if (index >= state.visible.length) return null;
    const column = x < LABEL ? -1 : Math.floor((x - LABEL + box.scrollLeft) / pitch);
    return { row: state.visible[index], column: columns[column], x, y };
  }

  function clicked(event) {
    const at = place(event);
    if (at) select(at.row);
  }

  function hovered(event) {
    const at = place(event);
    tip.hidden = !at;
    if (!at) return;
    tip.textContent = at.column ? told(at.row, at.column) : weights.addresses[at.row];
    tip.style.left = `${Math.min(at.x + 14, box.clientWidth - 220)}px`;
    tip.style.top = `${at.y + 16}px`;
  }

  function told(row, column) {
    const said = status(column, row);
    const z = column.z[row];
    const value = column.values[row] === null ? "" : ` = ${shown(column.values[row])}`;
    const far = Number.isFinite(z) ? `, ${z >= 0 ? "+" : "\u2212"}${Math.abs(z).toFixed(1)} sd` : "";
    return `${weights.addresses[row]}\n${column.name}${value}${far}` + (said ? `\n${said.status}: ${said.reason}` : "");
  }

  function keyed(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || !state.visible.length) return;
    event.preventDefault();
    const now = state.visible.indexOf(state.selected);
    const wanted = now < 0 ? 0 : now + steps[event.key];
    select(state.visible[Math.max(0, Math.min(state.visible.length - 1, wanted))]);
  }

  // The selected row comes into view when it is chosen elsewhere or by a key.
  function reveal() {
    const index = state.visible.indexOf(state.selected);
    if (index < 0) return;
    const top = index * ROW, height = box.clientHeight - HEAD;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + ROW > box.scrollTop + height) box.scrollTop = top + ROW - height;
    option.textContent = weights.addresses[state.selected];
    option.setAttribute("aria-posinset", index + 1);
    option.setAttribute("aria-setsize", state.visible.length);
  }

  function draw() {
    pitch = Math.floor((box.clientWidth - LABEL - 60) / columns.length);
    pitch = Math.max(NARROWEST, Math.min(WIDEST, pitch));
    size.style.width = `${LABEL + columns.length * pitch + 60}px`;
    size.style.height = `${HEAD + state.visible.length * ROW}px`;
    const width = box.clientWidth, height = box.clientHeight, scale = window.devicePixelRatio || 1;
    canvas.width = width * scale;
    canvas.height = height * scale;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const ink = canvas.getContext("2d");
    ink.scale(scale, scale);
    ink.font = "12px system-ui, sans-serif";
    ink.textBaseline = "middle";
    const colors = { low: color("--low"), middle: color("--middle"), high: color("--high"),
      text: color("--text"), quiet: color("--quiet"), wrong: color("--wrong"), paper: color("--paper") };
    cells(ink, colors, width, height);
    labels(ink, colors, height);
    heads(ink, colors, width);
  }

  function inView(height) {
    const from = Math.floor(box.scrollTop / ROW);
    return { from, to: Math.min(state.visible.length, from + Math.ceil((height - HEAD) / ROW) + 1) };
  }

  function cells(ink, colors, width, height) {
    const { from, to } = inView(height);
    for (let index = from; index < to; index += 1) {
      const row = state.visible[index], y = HEAD + index * ROW - box.scrollTop;
      columns.forEach((column, i) => {
        const x = LABEL + i * pitch - box.scrollLeft;
        if (x + pitch < LABEL || x > width) return;
        const z = column.z[row], told = column.status[row];
        if (Number.isFinite(z)) {
          const share = Math.min(1, Math.abs(z) / 3);
          ink.fillStyle = mixed(colors.middle, z < 0 ? colors.low : colors.high, share);
          ink.fillRect(x, y, pitch - 1, ROW - 1);
        }
        const infinite = Math.abs(number(column.values[row])) === Infinity;
        const sign = told && told[0] !== "not applicable" ? SIGNS[told[0]] : infinite ? "\u221e" : "";
        if (sign) {
          ink.fillStyle = told && ["failed", "not finite"].includes(told[0]) ? colors.wrong : colors.text;
          ink.textAlign = "center";
          ink.fillText(sign, x + pitch / 2, y + ROW / 2);
        }
      });
    }
  }

  function labels(ink, colors, height) {
    ink.fillStyle = colors.paper;
    ink.fillRect(0, 0, LABEL, height);
    ink.textAlign = "right";
    const { from, to } = inView(height);
    for (let index = from; index < to; index += 1) {
      const row = state.visible[index], y = HEAD + index * ROW - box.scrollTop;
      const is = row === state.selected;
      ink.font = `${is ? "bold " : ""}12px system-ui, sans-serif`;
      ink.fillStyle = is ? colors.text : colors.quiet;
      ink.fillText(fitted(ink, weights.addresses[row]), LABEL - 8, y + ROW / 2);
      if (is) {
        ink.strokeStyle = colors.text;
        ink.lineWidth = 2;
        ink.strokeRect(1, y - 1, LABEL + columns.length * pitch - box.scrollLeft - 1, ROW + 1);
      }
    }
  }

  // The end of an address says most; its start is cut.
  function fitted(ink, text) {
    if (ink.measureText(text).width <= LABEL - 12) return text;
    let cut = text;
    while (cut.length > 4 && ink.measureText(`\u2026${cut}`).width > LABEL - 12) cut = cut.slice(Math.ceil(cut.length / 20));
    return `\u2026${cut}`;
  }

  function heads(ink, colors, width) {
    ink.fillStyle = colors.paper;
    ink.fillRect(0, 0, width, HEAD);
    ink.font = "12px system-ui, sans-serif";
    ink.fillStyle = colors.text;
    ink.textAlign = "left";
    columns.forEach((column, i) => {
      const x = LABEL + i * pitch - box.scrollLeft + pitch / 2;
      if (x < LABEL || x > width + pitch) return;
      ink.save();
      ink.translate(x, HEAD - 6);
      ink.rotate(-Math.PI / 3);
      ink.fillText(column.name, 0, 0);
      ink.restore();
    });
  }

  // Room for a wide scroll bar, and no less room when a filter leaves few rows.
  box.style.height = `${HEAD + weights.addresses.length * ROW + 18}px`;
  new ResizeObserver(draw).observe(box);
  state.listeners.push((what) => {
    if (what === "visible") {
      box.scrollTop = 0;
      for (const column of columns) Object.assign(column, scores(column, state.visible));
      meaning.textContent = meant(columns.filter((column) => column.logs).map((column) => column.name));
    }
    reveal();
    draw();
  });
  return element("div", { class: "heat-frame" }, box, tip, key(meaning));
}

// What the colors mean.
function key(meaning) {
  const swatches = [-3, -2, -1, 0, 1, 2, 3].map((z) =>
    element("span", { class: `swatch z${z < 0 ? "low" : z > 0 ? "high" : "middle"}${Math.abs(z)}` }));
  return element("p", { class: "key" }, "\u22123 ", element("span", { class: "swatches" }, ...swatches), " +3 ", meaning);
}

function meant(logs) {
  const more = logs.length ? ` Of the logarithm: ${logs.join(", ")}.` : "";
  return `standard deviations from the mean of the metric over the weights shown.${more}`
    + " ! not finite, ~ says little, ? no such number, \u00d7 failed.";
}
