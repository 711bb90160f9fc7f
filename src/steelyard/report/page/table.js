// A table that is sorted by its heads, filtered from outside, and shown some rows at a time.

const ROWS_AT_ONCE = 100;

// columns: {name, title, number, cell(row), key(row), content(row)}; the first one names the row.
function sortable({ caption, columns, rows, selected, changed, atOnce = ROWS_AT_ONCE }) {
  let order = rows.slice(), shownRows = rows.slice(), first = 0;
  let sorted = { column: null, down: false };
  const heads = columns.map((column, i) => {
    const button = element("button", { type: "button", click: () => sort(i) }, column.name);
    return element("th", { scope: "col", class: column.number ? "number" : null,
      title: column.title || null, "aria-sort": "none" }, button);
  });
  const body = element("tbody");
  const where = element("span", { class: "where" });
  const back = element("button", { type: "button", click: () => turn(-1) }, "Previous");
  const next = element("button", { type: "button", click: () => turn(1) }, "Next");
  const table = element("table", { "aria-rowcount": rows.length + 1 },
    element("caption", {}, caption), element("thead", {}, element("tr", {}, ...heads)), body);
  const scroller = element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, table);
  const pager = element("div", { class: "pager" }, where, back, next);

  function sort(i) {
    // First down for numbers, since the largest are looked for; a third press gives the order back.
    const firstDown = Boolean(columns[i].number);
    if (sorted.column !== i) sorted = { column: i, down: firstDown };
    else if (sorted.down === firstDown) sorted = { column: i, down: !firstDown };
    else sorted = { column: null, down: false };
    heads.forEach((head, j) => head.setAttribute("aria-sort",
      sorted.column === j ? (sorted.down ? "descending" : "ascending") : "none"));
    arrange();
    first = 0;
    draw();
  }

  function arrange() {
    shownRows = order.slice();
    if (sorted.column !== null) {
      const { key, number: isNumber } = columns[sorted.column];
      const keys = new Map(shownRows.map((row) => [row, key(row)]));
      const empty = (one) => (isNumber ? Number.isNaN(one) : one === "");
      const sign = sorted.down ? -1 : 1;
      shownRows.sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        // What has no value comes last, whichever way.
        if (empty(x) || empty(y)) return empty(x) - empty(y);
        return sign * (isNumber ? x - y || 0 : x.localeCompare(y, "en", { numeric: true }));
      });
    }
    if (changed) changed(shownRows);
  }

  function turn(step) {
    first = Math.max(0, Math.min(first + step * atOnce, shownRows.length - 1));
    draw();
  }

  function draw() {
    const some = shownRows.slice(first, first + atOnce);
    body.replaceChildren(...some.map((row, i) => line(row, first + i)));
    const last = first + some.length;
    where.textContent = shownRows.length === 0 ? "No row is left by the filter."
      : `Rows ${(first + 1).toLocaleString("en-US")} to ${last.toLocaleString("en-US")} of ${shownRows.length.toLocaleString("en-US")}`
        + (shownRows.length < rows.length ? ` (${rows.length.toLocaleString("en-US")} without the filter)` : "");
    back.disabled = first === 0;
    next.disabled = last >= shownRows.length;
    back.hidden = next.hidden = shownRows.length <= atOnce;
  }

  function line(row, place) {
    const is = selected && selected() === row;
    const cells = columns.map((column, i) => {
      const content = column.content ? column.content(row) : column.cell(row);
      return i === 0 ? element("th", { scope: "row" }, content)
        : element("td", { class: column.number ? "number" : null,
          title: column.hint ? column.hint(row) : null }, content);
    });
    return element("tr", { "aria-rowindex": place + 2, "aria-current": is ? "true" : null, "data-row": row }, ...cells);
  }

  return {
    node: element("div", { class: "sortable" }, scroller, pager),
    filter(kept) { order = kept; first = 0; arrange(); draw(); },
    // Without drawing all again: the row that is selected is another one.
    mark() {
      for (const tr of body.rows) {
        if (Number(tr.dataset.row) === selected()) tr.setAttribute("aria-current", "true");
        else tr.removeAttribute("aria-current");
      }
    },
    draw() { arrange(); draw(); },
  };
}

// What a filter's text asks for: words of the address, and conditions such as `alpha>6`.
function condition(text, columns) {
  const tests = [];
  const problems = [];
  for (const part of text.trim().split(/\s+/).filter(Boolean)) {
    const found = /^([\w.]+)(<=|>=|<|>|=)(.+)$/.exec(part);
    if (!found) { tests.push(byName(part)); continue; }
    const column = columns.find((one) => one.name === found[1]);
    const bound = found[3] === "inf" ? Infinity : Number(found[3]);
    if (!column) problems.push(`there is no column ${found[1]}`);
    else if (Number.isNaN(bound)) problems.push(`${found[3]} is no number`);
    else tests.push((row) => compared(number(column.values[row]), found[2], bound));
  }
  return { fits: (row) => tests.every((test) => test(row)), problems };
}

function byName(part) {
  const wanted = part.toLowerCase();
  const pieces = wanted.split("*").map((piece) => piece.replace(/[.+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(pieces.join(".*"));
  return (row) => pattern.test(weights.addresses[row].toLowerCase());
}

function compared(value, sign, bound) {
  switch (sign) {
    case "<": return value < bound;
    case ">": return value > bound;
    case "<=": return value <= bound;
    case ">=": return value >= bound;
    default: return value === bound;
  }
}
