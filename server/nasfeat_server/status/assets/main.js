// Asks the server once a second, and shows what it says, or for how long it has said nothing.

import { byId, lasted, say, show } from "./dom.js";
import { drawOverview } from "./overview.js";
import { drawTables } from "./tables.js";
import { setUpTrial } from "./trial.js";

const PERIOD_MS = 1000;
const PATIENCE_MS = 5000;

// Nowhere but here: it is gone with the tab.
let token = "";
let lastAt = null;
let timer = 0;
let looking = false;
let lost = false;

async function ask(path, options = {}) {
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  return fetch(path, { ...options, headers, cache: "no-store", credentials: "omit", redirect: "error" });
}

const trial = setUpTrial(ask);

async function look() {
  clearTimeout(timer);
  // Nobody looks: the server need not count. Or one is under way, and goes on by itself.
  if (document.hidden || looking) return;
  looking = true;
  let goOn = true;
  try {
    goOn = await oneLook();
  } finally {
    looking = false;
    if (goOn) timer = setTimeout(look, PERIOD_MS);
  }
}

/** Ask once, and show what comes of it; false if it is of no use to go on. */
async function oneLook() {
  let report;
  try {
    const reply = await ask("/status.json", { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (reply.status === 401) {
      askForToken(await reply.text());
      return false;
    }
    if (!reply.ok) throw new Error(await reply.text());
    report = await reply.json();
  } catch {
    tellLost();
    return true;
  }
  draw(report);
  return true;
}

function draw(report) {
  if (lost) say(byId("news"), "Connected again.");
  lost = false;
  lastAt = performance.now();
  show(byId("connection"), false);
  document.body.classList.remove("stale");
  trial.allow(report.server);
  drawOverview(report);
  drawTables(report);
}

function tellLost() {
  // Read out once; the age below changes every second.
  lost = true;
  say(byId("news"), "Connection lost.");
  const age = lastAt === null ? "no data yet" : `last data ${lasted((performance.now() - lastAt) / 1000)} ago`;
  say(byId("connection"), `Connection lost, ${age}. Trying again every second.`);
  show(byId("connection"), true);
  document.body.classList.add("stale");
  say(byId("state"), "no connection");
  byId("state").className = "pill bad";
}

function askForToken(why) {
  say(byId("ask-why"), token ? why : "");
  if (!byId("ask").open) byId("ask").showModal();
}

byId("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("token").value = "";
  byId("ask").close();
});
// However it was closed: without a token there is nothing to show, and it comes again.
byId("ask").addEventListener("close", look);
document.addEventListener("visibilitychange", look);
look();
