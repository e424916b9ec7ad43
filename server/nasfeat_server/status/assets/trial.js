// The try-it panel: pictures in, features and likeness out.

import { byId, bytes, count, el, say, show, sync, took } from "./dom.js";
import { cosine, decode, drawStrip, norm, shade } from "./vectors.js";

const AT_ONCE = 2;
const MOST_PICTURES = 24;
const MOST_TRIES = 6;

/** Set the panel up. `ask(path, options)` sends a request with what it needs to be let in. */
export function setUpTrial(ask) {
  const trial = new Trial(ask);
  const [files, drop] = [byId("files"), byId("drop")];
  files.addEventListener("change", () => {
    trial.add(files.files);
    files.value = "";
  });
  const over = (event, isOver) => {
    event.preventDefault();
    drop.classList.toggle("over", isOver);
  };
  // Anywhere: what misses the panel would else take the place of the page.
  document.addEventListener("dragover", (event) => over(event, true));
  document.addEventListener("dragleave", (event) => over(event, false));
  document.addEventListener("drop", (event) => {
    over(event, false);
    trial.add(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => trial.add(event.clipboardData.files));
  byId("clear").addEventListener("click", () => trial.clear());
  byId("download").addEventListener("click", () => trial.download());
  return trial;
}

class Trial {
  #ask;
  #pictures = [];
  #number = 0;
  #limit = 0;

  constructor(ask) {
    this.#ask = ask;
  }

  /** Take note of what the server allows. */
  allow({ can_try: canTry, max_image_bytes: limit }) {
    this.#limit = limit;
    show(byId("try"), canTry);
    show(byId("try-link"), canTry);
  }

  add(files) {
    if (byId("try").hidden || !files.length) return;
    const room = MOST_PICTURES - this.#pictures.length;
    for (const file of [...files].slice(0, room)) {
      const ending = new AbortController();
      const url = URL.createObjectURL(file);
      this.#pictures.push({ number: ++this.#number, file, url, ending, state: "waiting" });
    }
    say(byId("try-told"), files.length > room ? `${MOST_PICTURES} pictures are the limit; remove some first.` : "");
    this.#draw();
    this.#work();
  }

  clear() {
    for (const picture of [...this.#pictures]) this.#remove(picture);
    say(byId("try-told"), "");
  }

  download() {
    const done = this.#pictures.filter((one) => one.vector);
    const content = done.map((one) => ({ name: one.file.name, version: one.version, features: [...one.vector] }));
    const url = URL.createObjectURL(new Blob([JSON.stringify(content)], { type: "application/json" }));
    el("a", { href: url, download: "features.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  #remove(picture) {
    picture.ending.abort();
    URL.revokeObjectURL(picture.url);
    this.#pictures = this.#pictures.filter((one) => one !== picture);
    this.#draw();
  }

  #work() {
    const busy = this.#pictures.filter((one) => one.state === "sent").length;
    const waiting = this.#pictures.filter((one) => one.state === "waiting").slice(0, AT_ONCE - busy);
    for (const picture of waiting) {
      picture.state = "sent";
      this.#send(picture).finally(() => {
        this.#draw();
        this.#work();
      });
    }
    this.#draw();
  }

  async #send(picture) {
    try {
      if (picture.file.size > this.#limit) {
        throw new Error(`the file has ${bytes(picture.file.size)}, the limit is ${bytes(this.#limit)}`);
      }
      const answer = await this.#answered(picture);
      Object.assign(picture, answer, { vector: decode(answer.features), state: "done" });
    } catch (error) {
      Object.assign(picture, { state: "failed", message: error.message });
    }
  }

  async #answered(picture) {
    const { signal } = picture.ending;
    const headers = { "Content-Type": "application/octet-stream", "X-Nasfeat-Page": "1" };
    for (let tries = 1; ; tries++) {
      const reply = await this.#ask("/try", { method: "POST", headers, body: picture.file, signal });
      if (reply.ok) return reply.json();
      const after = Number(reply.headers.get("Retry-After"));
      if (!after || tries === MOST_TRIES) throw new Error(await messageOf(reply));
      await new Promise((go) => setTimeout(go, 1000 * after));
    }
  }

  #draw() {
    const make = (picture) => makePicture(picture, () => this.#remove(picture));
    sync(byId("pictures"), this.#pictures, (one) => one.number, make, updatePicture);
    const done = this.#pictures.filter((one) => one.vector);
    show(byId("likeness"), done.length > 1);
    byId("matrix").replaceChildren(...(done.length > 1 ? [matrix(done)] : []));
    byId("download").disabled = !done.length;
    byId("clear").disabled = !this.#pictures.length;
  }
}

async function messageOf(reply) {
  const text = await reply.text();
  return reply.headers.get("Content-Type") === "application/json" ? JSON.parse(text).message : text.trim();
}

function makePicture({ file, url }, remove) {
  const image = el("img", { src: url, alt: "" });
  // Not every file that the server reads is one that a browser shows.
  image.addEventListener("error", () => image.replaceWith(el("div", { class: "blank", "aria-hidden": "true" }, "?")));
  const button = el("button", { type: "button", class: "remove", "aria-label": `Remove ${file.name}` }, "×");
  button.addEventListener("click", remove);
  const text = el("div", {}, el("h3", {}, file.name || "pasted picture"), el("p", { class: "quiet" }));
  return el("li", {}, image, text, button);
}

function updatePicture(item, picture) {
  item.className = picture.state;
  const [, note, strip] = item.querySelector("div:not(.blank)").children;
  if (picture.state === "waiting" || picture.state === "sent") say(note, "waiting for the server …");
  if (picture.state === "failed") say(note, picture.message);
  if (picture.state !== "done" || strip) return;
  const { vector } = picture;
  say(note, `${count(vector.length)} values, norm ${norm(vector).toFixed(3)}, ${picture.source}`);
  const canvas = el("canvas", { role: "img", "aria-label": `${count(vector.length)} values as colours` });
  drawStrip(canvas, vector);
  const stages = Object.entries(picture.stages_s).map(([stage, seconds]) => `${stage} ${took(seconds)}`);
  note.after(canvas, el("p", { class: "quiet" }, stages.join(" · ")));
}

function matrix(pictures) {
  // Vectors of two versions of the model have nothing to do with each other.
  const likeness = (one, other) => (one.version === other.version ? cosine(one.vector, other.vector) : null);
  const cosines = pictures.map((one) => pictures.map((other) => likeness(one, other)));
  const lowest = Math.min(...cosines.flat().filter((value) => value !== null));
  const head = (picture, scope) => {
    const image = el("img", { src: picture.url, alt: picture.file.name, title: picture.file.name });
    return el("th", { scope }, image);
  };
  const rows = pictures.map((picture, index) => {
    const cells = cosines[index].map((value) => cell(value, lowest));
    return el("tr", {}, head(picture, "row"), ...cells);
  });
  const top = el("tr", {}, el("td"), ...pictures.map((picture) => head(picture, "col")));
  return el("table", { class: "matrix" }, top, ...rows);
}

function cell(value, lowest) {
  if (value === null) return el("td", { title: "of different versions of the model" }, "–");
  const { background, dark } = shade((value - lowest) / (1 - lowest || 1));
  const made = el("td", { class: dark ? "dark" : "bright" }, value.toFixed(3));
  made.style.background = background;
  return made;
}
