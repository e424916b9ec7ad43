// The figures of the whole server: tiles, rates, stages, devices, versions of the model.

import { OUTCOMES, barRange, drawBars, drawRates } from "./charts.js";
import { byId, bytes, count, el, lasted, percent, rate, say, show, svg, sync, took } from "./dom.js";

export function drawOverview(report) {
  drawHead(report);
  drawTiles(report);
  drawOutcomes(report);
  drawLatency(report.latency);
  sync(byId("devices"), report.devices, (one) => one.device, makeDevice, updateDevice);
  sync(byId("models"), report.models, (one) => one.version, makeModel, updateModel);
}

function drawHead({ server, models }) {
  const name = models[0]?.name ?? "no model yet";
  say(byId("about"), `${name} · up ${lasted(server.uptime_s)}${server.tenant ? ` · tenant ${server.tenant}` : ""}`);
  const state = byId("state");
  say(state, server.state);
  state.className = `pill ${server.state === "ready" ? "good" : "bad"}`;
  const untrained = models.filter((one) => !one.is_trained).map((one) => `${one.version} (${one.weights_source})`);
  say(byId("untrained"), `Untrained weights: the features of version ${untrained.join(", ")} mean nothing.`);
  show(byId("untrained"), untrained.length > 0);
  say(byId("foot"), `nasfeat ${server.version}`);
}

function drawTiles({ frames, queue, devices, streams, latency, rates }) {
  const now = rates.at(-1)?.per_second ?? {};
  const others = OUTCOMES.slice(1).reduce((sum, outcome) => sum + (now[outcome] ?? 0), 0);
  const busy = devices.reduce((sum, one) => sum + one.busy_ratio, 0) / (devices.length || 1);
  const up = devices.filter((one) => one.is_up).length;
  const wanted = devices.filter((one) => one.is_wanted || one.is_up).length;
  const tiles = [
    { name: "Features a second", value: rate(now.ok ?? 0), note: others ? `${rate(others)} a second got none` : "no image without" },
    { name: "In flight", value: count(frames.in_flight), note: `${count(queue.depth)} wait for a device` },
    {
      name: "Slots in use",
      value: `${count(queue.slots_in_use)} of ${count(queue.slots)}`,
      note: queue.waiting ? `${count(queue.waiting)} wait for one` : "nobody waits",
      ratio: queue.slots_in_use / (queue.slots || 1),
    },
    { name: "Streams", value: count(streams.total), note: "open" },
    { name: "Devices busy", value: percent(busy), note: `${up} of ${wanted} up`, ratio: busy },
    { name: "Median on a device", value: took(latency.stages.execute.p50_s), note: "execute" },
  ];
  sync(byId("tiles"), tiles, (tile) => tile.name, makeTile, updateTile);
}

function makeTile({ name, ratio }) {
  const parts = [el("p", { class: "quiet" }, name), el("p", { class: "value" }), el("p", { class: "quiet" })];
  return el("div", { class: "tile" }, ...parts, ...(ratio === undefined ? [] : [makeMeter()]));
}

function updateTile(tile, { value, note, ratio }) {
  say(tile.children[1], value);
  say(tile.children[2], note);
  if (ratio !== undefined) fill(tile.querySelector(".meter"), ratio);
}

const makeMeter = () => el("div", { class: "meter", "aria-hidden": "true" }, el("div"));

function fill(meter, ratio) {
  meter.firstChild.style.width = `${100 * Math.min(1, ratio)}%`;
  meter.classList.toggle("full", ratio > 0.9);
}

function drawOutcomes({ frames, rates }) {
  const top = drawRates(byId("rates"), rates);
  say(byId("rates-top"), `from 0 to ${rate(top)}`);
  const make = (outcome) => el("li", { class: outcome }, `${outcome} `, el("b"));
  const update = (item, outcome) => {
    say(item.lastChild, count(frames.outcomes[outcome]));
    item.classList.toggle("none", !frames.outcomes[outcome]);
  };
  sync(byId("outcomes"), OUTCOMES, (outcome) => outcome, make, update);
}

function drawLatency({ stages, window_s: windowS, bounds_s: bounds }) {
  const range = barRange(Object.values(stages).map((stage) => stage.bars));
  const update = (row, [name, stage]) => {
    const drawing = row.querySelector("svg");
    drawBars(drawing, stage.bars, range);
    const words = ["p50_s", "p90_s", "p99_s"].map((part) => took(stage[part]));
    drawing.setAttribute("aria-label", `${name}: half within ${words[0]}, 99 of 100 within ${words[2]}`);
    row.querySelectorAll("b").forEach((place, index) => say(place, words[index]));
  };
  sync(byId("latency"), Object.entries(stages), ([name]) => name, makeStage, update);
  say(byId("latency-window"), `the last ${lasted(windowS)}`);
  say(byId("latency-low"), took(bounds[range.first - 1] ?? 0));
  say(byId("latency-high"), took(bounds[Math.min(range.last, bounds.length - 1)]));
}

function makeStage([name]) {
  const quantiles = ["p50", "p90", "p99"].map((part) => el("span", {}, `${part} `, el("b")));
  return el(
    "div",
    { class: "stage" },
    el("h3", {}, name),
    svg("svg", { role: "img" }),
    el("p", { class: "quantiles" }, ...quantiles),
  );
}

function makeDevice({ device }) {
  const head = el("h3", {}, `${device} `, el("span", { class: "pill" }));
  return el("div", { class: "device" }, head, makeMeter(), el("dl"));
}

function updateDevice(card, one) {
  const pill = card.querySelector(".pill");
  const down = one.is_quarantined ? "left alone" : "down";
  say(pill, one.is_up ? "up" : one.is_wanted ? down : "not needed");
  pill.className = `pill ${one.is_up ? "good" : one.is_wanted ? "bad" : ""}`;
  fill(card.querySelector(".meter"), one.busy_ratio);
  const gpu = one.gpu ?? {};
  const facts = {
    busy: percent(one.busy_ratio),
    batches: batches(one.batch_sizes),
    "largest batch": one.batch_limit === null ? null : count(one.batch_limit),
    restarts: count(one.restarts),
    memory: bytes(one.memory_bytes),
    "cosine to fp32": one.mean_cosine?.toFixed(5),
    GPU: gpu.utilization === null || gpu.utilization === undefined ? null : percent(gpu.utilization),
    "GPU memory": gpu.memory_used ? `${bytes(gpu.memory_used)} of ${bytes(gpu.memory_total)}` : null,
  };
  listFacts(card.querySelector("dl"), facts);
}

function batches(sizes) {
  const total = sizes.reduce((sum, [, number]) => sum + number, 0);
  if (!total) return "none";
  return sizes.map(([size, number]) => `${percent(number / total)} of ${size}`).join(", ");
}

/** Write names and values; those without a value are left out. */
function listFacts(list, facts) {
  const there = Object.entries(facts).filter(([, value]) => value !== null && value !== undefined);
  const make = ([name]) => el("div", {}, el("dt", {}, name), el("dd"));
  sync(list, there, ([name]) => name, make, (pair, [, value]) => say(pair.lastChild, value));
}

function makeModel() {
  return el("div", { class: "model" }, el("h3", {}, el("span"), " ", el("span", { class: "pill" })), el("dl"));
}

function updateModel(card, one) {
  say(card.querySelector("span"), one.label);
  const pill = card.querySelector(".pill");
  say(pill, one.is_trained ? "trained" : "untrained");
  pill.className = `pill ${one.is_trained ? "good" : "bad"}`;
  listFacts(card.querySelector("dl"), {
    version: one.version,
    network: one.name,
    weights: one.weights_source,
    digest: one.weights_digest,
    precision: one.precision,
    image: `${one.image_height} × ${one.image_width}`,
    features: count(one.feature_length),
    "share of calls": percent(one.share),
    "calls under way": count(one.calls),
  });
}
