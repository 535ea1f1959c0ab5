/** Small waveforms, for lists. */

import { api } from "../net/api.js";
import { h } from "../parts/element.js";
import { columns, readPeaks } from "./peaks.js";

const KEPT = 200;

/** @type {Map<string, Promise<import("./peaks.js").Peaks>>} */
const known = new Map();

/**
 * @param {string} take
 * @returns {Promise<import("./peaks.js").Peaks>}
 */
export function peaksOf(take) {
  const found = known.get(take) ?? api.peaks(take).then(readPeaks);
  known.delete(take);
  known.set(take, found);
  found.catch(() => known.delete(take));
  for (const old of [...known.keys()].slice(0, -KEPT)) known.delete(old);
  return found;
}

/**
 * A canvas with the waveform of a take; it is empty until the server has answered.
 * @param {string} take
 * @param {number} [width]
 */
export function thumbnail(take, width = 240) {
  const canvas = h("canvas", { class: "thumbnail", width, height: 56, "aria-hidden": "true" });
  peaksOf(take).then(
    (peaks) => draw(canvas, peaks),
    () => canvas.classList.add("bad"),
  );
  return canvas;
}

/**
 * @param {HTMLCanvasElement} canvas
 * @param {import("./peaks.js").Peaks} peaks
 */
function draw(canvas, peaks) {
  const context = canvas.getContext("2d");
  if (!context) return;
  const { width, height } = canvas;
  const values = new Float32Array(2 * width);
  columns(peaks, 0, 0, peaks.samples / width, values);
  context.fillStyle = getComputedStyle(canvas).color;
  for (let x = 0; x < width; x++) {
    const top = ((1 - values[2 * x + 1]) / 2) * height;
    const bottom = ((1 - values[2 * x]) / 2) * height;
    context.fillRect(x, top, 1, Math.max(1, bottom - top));
  }
}
