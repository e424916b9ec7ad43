// Drawings, as SVG that is stretched to its place.

import { svg } from "./dom.js";

const SPAN_S = 120;

/** How an image's life may end, as it is stacked: what went well at the bottom. */
export const OUTCOMES = ["ok", "dropped", "rejected", "cancelled", "expired", "invalid", "error"];

/** Draw what came of images in the last two minutes, stacked; gives images a second at the top. */
export function drawRates(drawing, rates) {
  const shown = rates.filter((one) => one.age_s < SPAN_S);
  const sums = shown.map(() => 0);
  const total = (one) => Object.values(one.per_second).reduce((sum, value) => sum + value, 0);
  const top = roundUp(Math.max(1, ...shown.map(total)));
  const layers = OUTCOMES.map((outcome) => {
    const below = [...sums];
    shown.forEach((one, place) => (sums[place] += one.per_second[outcome] ?? 0));
    return svg("path", { class: `outcome ${outcome}`, d: layer(shown, below, sums, top) });
  });
  drawing.setAttribute("viewBox", `0 0 ${SPAN_S} 100`);
  drawing.setAttribute("preserveAspectRatio", "none");
  const lines = [25, 50, 75].map((y) => svg("line", { class: "grid", x1: 0, x2: SPAN_S, y1: y, y2: y }));
  drawing.replaceChildren(...lines, ...layers);
  return top;
}

function layer(shown, below, above, top) {
  const height = (value) => (100 - (100 * value) / top).toFixed(2);
  const start = (one) => Math.max(0, SPAN_S - one.age_s - one.seconds).toFixed(2);
  const end = (one) => (SPAN_S - one.age_s).toFixed(2);
  if (!shown.some((_, place) => above[place] > below[place])) return "";
  const there = shown.map((one, place) => `L${start(one)} ${height(above[place])}H${end(one)}`);
  const back = shown.map((one, place) => `L${end(one)} ${height(below[place])}H${start(one)}`).reverse();
  return `M${start(shown[0])} ${height(below[0])}${there.join("")}${back.join("")}Z`;
}

function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}

/** Find the bars that any of several histograms needs, so that these can be compared; at least a dozen. */
export function barRange(histograms) {
  const used = histograms.flatMap((bars) => bars.flatMap((value, place) => (value ? [place] : [])));
  if (!used.length) return { first: 10, last: 30 };
  const [first, last] = [Math.min(...used), Math.max(...used)];
  return { first: Math.max(0, first - 1), last: Math.max(last + 1, first + 11) };
}

/** Draw one histogram from bar to bar. */
export function drawBars(drawing, bars, { first, last }) {
  const most = Math.max(1, ...bars);
  const width = 100 / (last - first + 1);
  const drawn = [];
  for (let place = first; place <= last; place++) {
    if (!bars[place]) continue;
    // What there is little of is seen, too.
    const height = Math.max(4, (40 * bars[place]) / most);
    drawn.push(
      svg("rect", { x: (place - first) * width + 0.1 * width, width: 0.8 * width, y: 40 - height, height }),
    );
  }
  drawing.setAttribute("viewBox", "0 0 100 40");
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.replaceChildren(svg("line", { class: "grid", x1: 0, x2: 100, y1: 39.5, y2: 39.5 }), ...drawn);
}
