// The tables of streams and of errors. On a phone each row is a card: the roles say what it is nevertheless.

import { byId, count, el, lasted, say, show, sync } from "./dom.js";

const STREAMS = {
  stream: (one) => one.stream_id,
  tenant: (one) => one.tenant,
  version: (one) => one.version,
  overload: (one) => one.overload.replace("_", " "),
  priority: (one) => one.priority,
  "in flight": (one) => `${count(one.in_flight)} of ${count(one.window)}`,
  received: (one) => count(one.received),
  answered: (one) => answered(one.outcomes),
  open: (one) => lasted(one.age_s),
};
const REFUSALS = {
  when: (one) => `${lasted(one.age_s)} ago`,
  times: (one) => count(one.count),
  what: (one) => one.reason,
  message: (one) => one.message,
  where: (one) => place(one),
};
// They take a whole line on a phone.
const LONG = new Set(["stream", "answered", "what", "message", "where"]);

export function drawTables({ streams, refusals }) {
  const shown = streams.shown.length;
  const others = streams.total - streams.own;
  const told = shown < streams.own ? `${count(shown)} busiest of ${count(streams.own)}` : count(streams.own);
  say(byId("streams-count"), `${told} open${others ? `, ${count(others)} of others` : ""}`);
  // Names need not be unique.
  const keys = new Map();
  const key = (one) => {
    const times = (keys.get(one.stream_id) ?? 0) + 1;
    keys.set(one.stream_id, times);
    return `${one.stream_id}\n${times}`;
  };
  draw(byId("streams-table"), STREAMS, streams.shown, key, "No stream is open.");
  say(byId("errors-count"), refusals.length ? "the newest first" : "");
  const kind = (one) => [one.method, one.reason, one.stream_id, one.tenant].join("\n");
  draw(byId("errors-table"), REFUSALS, refusals, kind, "Nothing was refused.");
}

function draw(parent, columns, items, key, none) {
  if (!parent.firstChild) parent.append(el("p", { class: "quiet" }, none), table(Object.keys(columns)));
  const [empty, grid] = parent.children;
  show(empty, !items.length);
  show(grid, items.length > 0);
  const cells = Object.entries(columns);
  const make = () => el("tr", { role: "row" }, ...cells.map(([name]) => makeCell(name)));
  const update = (row, item) => cells.forEach(([, text], index) => say(row.children[index], text(item)));
  sync(grid.tBodies[0], items, key, make, update);
  cells.forEach(([name, text]) => {
    // A column that nobody fills takes room on every row.
    const used = items.some((item) => text(item) !== "");
    grid.querySelectorAll(`[data-name="${name}"]`).forEach((cell) => show(cell, used));
  });
}

function makeCell(name) {
  return el("td", { role: "cell", "data-name": name, class: LONG.has(name) ? "long" : null });
}

function table(names) {
  const heads = names.map((name) => el("th", { role: "columnheader", scope: "col", "data-name": name }, name));
  return el(
    "table",
    { role: "table", class: "rows" },
    el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)),
    el("tbody", { role: "rowgroup" }),
  );
}

function answered(outcomes) {
  const parts = Object.entries(outcomes).map(([outcome, number]) => `${count(number)} ${outcome}`);
  return parts.join(", ") || "none yet";
}

function place(one) {
  const frame = one.frame_id === null || !one.stream_id ? "" : `, frame ${one.frame_id}`;
  const stream = one.stream_id ? ` ${one.stream_id}${frame}` : "";
  return `${one.method}${stream}${one.tenant ? ` · ${one.tenant}` : ""}`;
}
