// Elements and texts. Whatever comes from outside becomes a text node, never markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

/** Make an element; `attributes` that are null are left out, strings among `children` become texts. */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an element of a drawing. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Set the text of a node if it is another one: what is selected, or being read out, stays as it is. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

/**
 * Make `parent` have one child for each of `items`, in their order. A child stays for as long as its key does.
 * `make` gives a new one, `update` brings it up to date.
 */
export function sync(parent, items, key, make, update) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let last = null;
  for (const item of items) {
    const name = String(key(item));
    const child = before.get(name) ?? make(item);
    before.delete(name);
    child.dataset.key = name;
    update(child, item);
    const place = last ? last.nextSibling : parent.firstChild;
    if (child !== place) parent.insertBefore(child, place);
    last = child;
  }
  for (const gone of before.values()) gone.remove();
}

const number = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, useGrouping: true });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const count = (value) => whole.format(value);

export function rate(value) {
  return value >= 100 ? whole.format(value) : number.format(value);
}

export const percent = (ratio) => `${whole.format(100 * ratio)} %`;

export function bytes(value) {
  for (const unit of ["B", "kB", "MB"]) {
    if (value < 1000) return `${rate(value)} ${unit}`;
    value /= 1000;
  }
  return `${number.format(value)} GB`;
}

/** A short time, as stages take. */
export function took(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 0.001) return `${number.format(seconds * 1e6)} µs`;
  return seconds < 1 ? `${number.format(seconds * 1e3)} ms` : `${number.format(seconds)} s`;
}

/** A long time, as servers and streams live. */
export function lasted(seconds) {
  if (seconds < 120) return `${whole.format(seconds)} s`;
  if (seconds < 7200) return `${whole.format(seconds / 60)} min`;
  return seconds < 172800 ? `${whole.format(seconds / 3600)} h` : `${whole.format(seconds / 86400)} d`;
}
