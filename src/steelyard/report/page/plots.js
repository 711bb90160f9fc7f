// The plots: one weight at a time, in SVG, on axes that say their numbers.

const PLOT = { width: 560, height: 330, left: 58, right: 14, top: 12, bottom: 44 };

function logAxis(least, most, from, to) {
  const a = Math.log10(least), b = Math.log10(most) === a ? a + 1 : Math.log10(most);
  return (value) => from + ((Math.log10(value) - a) / (b - a)) * (to - from);
}

// Round numbers from one to the other, not more than eight: decades, or 1, 2, 5 where there are few.
function rounds(least, most) {
  const first = Math.floor(Math.log10(least)), last = Math.ceil(Math.log10(most));
  const step = Math.max(1, Math.ceil((last - first) / 7));
  const digits = last - first <= 2 ? [1, 2, 5] : [1];
  const found = [];
  for (let power = first; power <= last; power += step) {
    for (const digit of digits) found.push(Number(`${digit}e${power}`));
  }
  return found.filter((value) => value >= least * 0.999 && value <= most * 1.001);
}

function power(value) {
  return value >= 0.001 && value < 10000 ? String(value) : value.toExponential(0).replace("e+", "e");
}

function value(name, row) {
  const column = weights.columns.find((one) => one.name === name);
  return column && column.values[row] !== null ? number(column.values[row]) : NaN;
}

// How many eigenvalues are as large as each, or larger, and the power law that fits the largest.
function spectrumPlot(row) {
  const spectrum = weights.spectra[row];
  const { width, height, left, right, top, bottom } = PLOT;
  const xs = spectrum.values, ys = spectrum.ranks.map((rank) => rank / spectrum.positive);
  const alpha = value("alpha", row), start = value("alpha_xmin", row), tail = value("alpha_tail_size", row);
  const edge = value("mp_bulk_max", row);
  const most = xs[0] * 1.15, least = Math.max(xs[xs.length - 1], most * 1e-9) / 1.15;
  const lowest = 1 / spectrum.positive / 1.3;
  const x = logAxis(least, most, left, width - right), y = logAxis(lowest, 1.2, height - bottom, top);
  const parts = [...grid(x, y, least, most, lowest)];
  const fit = [alpha, start, tail].every((one) => Number.isFinite(one) && one > 0);
  if (edge > least && edge < most) parts.push(upright("edge", x(edge), "edge of a random bulk"));
  if (fit) {
    parts.push(upright("start", x(Math.max(start, least)), "xmin"));
    const at = (one) => (tail / spectrum.positive) * (one / start) ** (1 - alpha);
    const end = Math.min(most, start * (lowest * spectrum.positive / tail) ** (1 / (1 - alpha)));
    parts.push(drawn("line", { class: "fit", x1: x(start), y1: y(at(start)), x2: x(end), y2: y(at(end)) }));
  }
  xs.forEach((one, i) => {
    if (one >= least) parts.push(drawn("circle", { class: fit && one >= start * 0.99999 ? "point tail" : "point", cx: x(one).toFixed(1), cy: y(ys[i]).toFixed(1), r: 2.6 }));
  });
  const words = `${counted(spectrum.positive, "eigenvalue")} of ${weights.addresses[row]}, from `
    + `${shown(xs[xs.length - 1])} to ${shown(xs[0])}`
    + (fit ? `; power law with alpha ${shown(alpha)} above ${shown(start)}, ${counted(tail, "eigenvalue")} in the tail` : "; no power law was fitted")
    + (spectrum.zeros ? `; ${counted(spectrum.zeros, "eigenvalue")} at 0 not drawn` : "")
    + (xs.length < spectrum.positive ? `; of the smaller ones some are drawn, ${xs.length} points in all` : "");
  return element("figure", {},
    drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words }, ...parts),
    element("figcaption", {}, `${words}.`));
}

function grid(x, y, least, most, lowest) {
  const { width, height, left, right, top, bottom } = PLOT;
  const parts = [];
  for (const one of rounds(least, most)) {
    parts.push(drawn("line", { class: "grid", x1: x(one), x2: x(one), y1: top, y2: height - bottom }),
      drawn("text", { class: "tick", x: x(one), y: height - bottom + 16, "text-anchor": "middle" }, power(one)));
  }
  for (const one of rounds(lowest, 1.2)) {
    parts.push(drawn("line", { class: "grid", x1: left, x2: width - right, y1: y(one), y2: y(one) }),
      drawn("text", { class: "tick", x: left - 6, y: y(one) + 4, "text-anchor": "end" }, power(one)));
  }
  parts.push(drawn("text", { class: "axis", x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, "eigenvalue \u03bb = \u03c3\u00b2"),
    drawn("text", { class: "axis", x: 14, y: (top + height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 14 ${(top + height - bottom) / 2})` }, "share of eigenvalues \u2265 \u03bb"));
  return parts;
}

function upright(kind, x, words) {
  const { height, left, top, bottom } = PLOT;
  const fits = x > left + 130; // else the words stand on the other side of the line
  return drawn("g", { class: kind }, drawn("line", { x1: x, x2: x, y1: top, y2: height - bottom }),
    drawn("text", { x: fits ? x - 4 : x + 4, y: kind === "edge" ? top + 10 : height - bottom - 6, "text-anchor": fits ? "end" : "start" }, words));
}
