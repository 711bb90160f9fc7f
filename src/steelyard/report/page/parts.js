"use strict";
// What all parts of the page are made of. Data comes into the document as text only: through
// `append` of strings and `textContent`, never as HTML.

const page = JSON.parse(document.getElementById("data").textContent);
const weights = page.weights;
const SIGNS = {
  "failed": "\u00d7", "not finite": "!", "too large": "^",
  "undefined": "?", "weak": "~", "not applicable": "\u2013",
};

function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  give(node, attributes);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function drawn(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  give(node, attributes);
  node.append(...children);
  return node;
}

function give(node, attributes) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== false) node.setAttribute(name, String(value));
  }
}

// The number in a cell; what JSON cannot hold stands there as a text.
function number(cell) {
  if (typeof cell === "number") return cell;
  return { inf: Infinity, "-inf": -Infinity }[cell] ?? NaN;
}

function shown(cell) {
  if (cell === null || cell === undefined) return "";
  if (typeof cell === "string") return { nan: "NaN", inf: "\u221e", "-inf": "\u2212\u221e" }[cell] ?? cell;
  const size = Math.abs(cell);
  if (Number.isInteger(cell) && size < 1e6) return cell.toLocaleString("en-US");
  return size >= 1e5 || size < 1e-3 ? cell.toExponential(3) : cell.toPrecision(4);
}

function counted(many, noun) {
  return `${many.toLocaleString("en-US")} ${noun}${many === 1 ? "" : "s"}`;
}

// Of a reading: its status and reason, or null where it is ok.
function status(column, row) {
  const told = column.status[row];
  return told ? { status: told[0], reason: weights.reasons[told[1]] } : null;
}

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function mixed(from, to, share) {
  const part = (text, i) => parseInt(text.slice(1 + 2 * i, 3 + 2 * i), 16);
  const one = (i) => Math.round(part(from, i) + share * (part(to, i) - part(from, i)));
  return `rgb(${one(0)}, ${one(1)}, ${one(2)})`;
}

// Which weight is selected and which are shown, and who wants to know when that changes.
const state = { selected: null, visible: weights.addresses.map((_, row) => row), listeners: [] };

function tell(what) {
  for (const listener of state.listeners) listener(what);
}

function select(row) {
  state.selected = row;
  tell("selected");
}

function say(text) {
  document.getElementById("said").textContent = text;
}
