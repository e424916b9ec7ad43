// Feature vectors: read, compared, shown as a strip of colours.

/** Read float32 values, little-endian, from base64. */
export function decode(text) {
  const raw = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const view = new DataView(raw.buffer);
  return Float32Array.from({ length: raw.length / 4 }, (_, index) => view.getFloat32(4 * index, true));
}

export function dot(one, other) {
  return one.reduce((sum, value, index) => sum + value * other[index], 0);
}

export const norm = (vector) => Math.sqrt(dot(vector, vector));

/** The cosine of two vectors; 0 if one of them is nothing but zeros. */
export function cosine(one, other) {
  const length = norm(one) * norm(other);
  return length ? dot(one, other) / length : 0;
}

const STRIP = 256;

/** Draw a vector from its first value to its last: each dot is the mean of some, the brightest the largest. */
export function drawStrip(canvas, vector) {
  canvas.width = STRIP;
  canvas.height = 1;
  const means = Array.from({ length: STRIP }, (_, place) => mean(vector, place));
  const [low, high] = [Math.min(...means), Math.max(...means)];
  const context = canvas.getContext("2d");
  const picture = context.createImageData(STRIP, 1);
  means.forEach((value, place) => picture.data.set(color((value - low) / (high - low || 1)), 4 * place));
  context.putImageData(picture, 0, 0);
}

function mean(vector, place) {
  const start = Math.floor((place * vector.length) / STRIP);
  const end = Math.max(start + 1, Math.floor(((place + 1) * vector.length) / STRIP));
  const part = vector.subarray(start, end);
  return part.reduce((sum, value) => sum + value, 0) / part.length;
}

// From dark blue over green to yellow.
const STOPS = [
  [30, 30, 80],
  [20, 110, 120],
  [70, 170, 90],
  [250, 230, 90],
];

function color(part) {
  const at = part * (STOPS.length - 1);
  const place = Math.min(STOPS.length - 2, Math.floor(at));
  const mixed = STOPS[place].map((value, index) => value + (at - place) * (STOPS[place + 1][index] - value));
  return [...mixed, 255];
}

/** The same colours for a style sheet, and whether they are dark; `part` is from 0 to 1. */
export function shade(part) {
  const [red, green, blue] = color(Math.min(1, Math.max(0, part)));
  return { background: `rgb(${red} ${green} ${blue})`, dark: part < 0.6 };
}
