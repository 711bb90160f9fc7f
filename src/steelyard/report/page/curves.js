// The curves of a training: what Keras logged, one metric of all weights, and all of one weight.

const CURVE = { width: 300, height: 130, left: 52, right: 8, top: 8, bottom: 22 };
const MOST_CURVES = 24;

// From a number to a place: on a log axis where positive values span more than fiftyfold.
function axis(values, from, to) {
  const finite = values.filter(Number.isFinite);
  const least = finite.reduce((a, b) => Math.min(a, b), Infinity);
  const most = finite.reduce((a, b) => Math.max(a, b), -Infinity);
  const logs = least > 0 && most > 50 * least;
  const scale = logs ? Math.log10 : (value) => value;
  const a = scale(least), span = scale(most) - a;
  return { least, most, logs, at: (value) => (span > 0 ? from + ((scale(value) - a) / span) * (to - from) : (from + to) / 2) };
}

// The path of a curve, with a gap wherever there is no number.
function path(xs, ys, x, y) {
  let open = false;
  let text = "";
  ys.forEach((value, i) => {
    const there = Number.isFinite(value);
    if (there) text += `${open ? "L" : "M"}${x.at(xs[i]).toFixed(1)},${y.at(value).toFixed(1)}`;
    // A single number between two gaps is a dot, by a line of no length.
    if (there && !open && !Number.isFinite(ys[i + 1])) text += "h0";
    open = there;
  });
  return text;
}

// Few digits: there is little room beside a small plot.
function tick(value) {
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e5 || size < 1e-3) ? value.toExponential(1) : String(Number(value.toPrecision(4)));
}

function curve(title, cells) {
  const { width, height, left, right, top, bottom } = CURVE;
  const xs = page.run.steps, ys = cells.map(number);
  const x = axis(xs, left, width - right), y = axis(ys, height - bottom, top);
  const flat = { ...x, at: (value) => (xs.length > 1 ? left + ((value - xs[0]) / (xs[xs.length - 1] - xs[0])) * (width - right - left) : (left + width) / 2) };
  const known = ys.filter(Number.isFinite);
  const gaps = xs.filter((_, i) => !Number.isFinite(ys[i]));
  const none = gaps.length ? ` (no finite number at ${gaps.length} of ${xs.length} steps)` : "";
  const words = `${title}: ` + (known.length ? `${shown(known[0])} at first, ${shown(known[known.length - 1])} at last, from ${shown(y.least)} to ${shown(y.most)}` : "no finite number")
    + none;
  const text = (place, told) => drawn("text", { class: "tick", ...place }, told);
  return element("figure", { class: "curve" },
    element("figcaption", {}, title, y.logs ? " (log axis)" : "", none),
    drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words },
      drawn("path", { class: "grid", d: `M${left},${top}V${height - bottom}H${width - right}` }),
      drawn("path", { class: "gaps", d: gaps.map((one) => `M${flat.at(one).toFixed(1)},${height - bottom - 5}v5`).join("") }),
      drawn("path", { class: "line", d: path(xs, ys, flat, y) }),
      ...(known.length ? [
        text({ x: left - 5, y: top + 9, "text-anchor": "end" }, tick(y.most)),
        text({ x: left - 5, y: height - bottom, "text-anchor": "end" }, y.least === y.most ? "" : tick(y.least))] : []),
      text({ x: left, y: height - 6 }, xs[0].toLocaleString("en-US")),
      text({ x: width - right, y: height - 6, "text-anchor": "end" }, `step ${xs[xs.length - 1].toLocaleString("en-US")}`)));
}

// All curves of one weight, a small plot for each metric.
function curvesOf(address) {
  if (!page.run || !page.run.steps.length) return [];
  const own = page.run.series.filter((one) => one.address === address);
  if (!own.length) return [];
  const more = own.length > MOST_CURVES ? [element("p", { class: "help" }, `${own.length - MOST_CURVES} more metrics have curves that are not drawn.`)] : [];
  return [element("div", { class: "curves" }, ...own.slice(0, MOST_CURVES).map((one) => curve(one.metric, one.values))), ...more];
}

function training() {
  const run = page.run;
  if (!run || !run.steps.length) return null;
  const thinned = run.steps.length < run.all
    ? element("p", { class: "help" }, `Of ${run.all.toLocaleString("en-US")} steps, ${run.steps.length.toLocaleString("en-US")} are drawn, evenly; what lies between is in the file of the run.`) : null;
  return element("section", { "aria-labelledby": "training" },
    element("h2", { id: "training" }, "Training"), thinned,
    element("div", { class: "curves" }, ...run.logs.slice(0, MOST_CURVES).map((one) => curve(one.name, one.values))),
    run.logs.length > MOST_CURVES ? element("p", { class: "help" }, `${run.logs.length - MOST_CURVES} more logged numbers are not drawn.`) : null,
    run.series.length ? together() : null);
}

// One metric of all weights, on a canvas, since there may be thousands of lines.
function together() {
  const metrics = [...new Set(page.run.series.map((one) => one.metric))];
  const choice = element("select", { id: "curve-metric", change: draw }, ...metrics.map((one) => element("option", {}, one)));
  const canvas = element("canvas", { role: "img", class: "together" });
  const words = element("p", { class: "help", "aria-live": "polite" });

  function draw() {
    const metric = choice.value, xs = page.run.steps;
    const several = page.run.series.filter((one) => one.metric === metric).map((one) => ({ ...one, ys: one.values.map(number) }));
    const { width, height } = sized(canvas);
    const ink = canvas.getContext("2d");
    const y = axis(several.flatMap((one) => one.ys), height - 24, 10);
    const x = { at: (value) => (xs.length > 1 ? 60 + ((value - xs[0]) / (xs[xs.length - 1] - xs[0])) * (width - 70) : width / 2) };
    const address = state.selected === null ? null : weights.addresses[state.selected];
    ink.font = "12px system-ui, sans-serif";
    ink.fillStyle = color("--quiet");
    ink.textAlign = "right";
    if (Number.isFinite(y.most)) {
      ink.fillText(tick(y.most), 54, 16);
      ink.fillText(tick(y.least), 54, height - 24);
    }
    ink.fillText(`step ${xs[xs.length - 1].toLocaleString("en-US")}`, width - 10, height - 6);
    ink.textAlign = "left";
    ink.fillText(xs[0].toLocaleString("en-US"), 60, height - 6);
    const chosen = several.filter((one) => one.address === address);
    ink.lineCap = "round";
    const line = (one) => ink.stroke(new Path2D(path(xs, one.ys, x, y)));
    ink.lineWidth = 1;
    ink.globalAlpha = several.length > 100 ? 0.25 : 0.6;
    ink.strokeStyle = color("--quiet");
    several.forEach(line);
    ink.globalAlpha = 1;
    ink.lineWidth = 2.5;
    ink.strokeStyle = color("--high");
    chosen.forEach(line);
    words.textContent = `${metric} of ${counted(several.length, "weight")}${y.logs ? ", on a log axis" : ""}`
      + (chosen.length ? `; ${address} is the colored one.` : ".");
    canvas.setAttribute("aria-label", words.textContent);
  }

  state.listeners.push((what) => { if (what !== "visible") draw(); });
  new ResizeObserver(draw).observe(canvas);
  return element("div", { class: "all-curves" }, element("label", { for: "curve-metric" }, "All weights: "), choice, canvas, words);
}

// A canvas with as many dots as the screen has.
function sized(canvas) {
  const width = canvas.clientWidth, height = canvas.clientHeight, scale = window.devicePixelRatio || 1;
  canvas.width = width * scale;
  canvas.height = height * scale;
  canvas.getContext("2d").scale(scale, scale);
  return { width, height };
}
