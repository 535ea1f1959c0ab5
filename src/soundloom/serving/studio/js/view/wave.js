/**
 * Draw waveforms: from the pyramid of peaks, below 256 samples per pixel from the samples, below a quarter of a sample
 * per pixel as points.
 *
 * @typedef {import("./grid.js").View} View
 * @typedef {import("./peaks.js").Peaks} Peaks
 * @typedef {import("../audio/wav.js").Sound} Sound
 * @typedef {{y: number, height: number}} Lane
 * @typedef {{from: number, to: number, color: string}} Stretch  samples that are drawn in a color
 */

import { toX } from "./grid.js";
import { columns } from "./peaks.js";

const FROM_SAMPLES = 256; // samples per pixel
const POINTS = 1 / 4;

/**
 * @param {CanvasRenderingContext2D} context scaled to CSS pixels
 * @param {View} view
 * @param {{peaks: Peaks | null, sound: Sound | null, lane: Lane, stretches: Stretch[], density: number}} what
 */
export function drawWave(context, view, { peaks, sound, lane, stretches, density }) {
  const channels = sound?.channels.length ?? peaks?.channels ?? 1;
  const height = lane.height / channels;
  for (let channel = 0; channel < channels; channel++) {
    const box = { y: lane.y + channel * height, height };
    for (const stretch of stretches) {
      context.fillStyle = context.strokeStyle = stretch.color;
      if (sound && view.perPixel < 1) drawCurve(context, view, sound.channels[channel], box, stretch);
      else drawColumns(context, view, { peaks, sound, channel, box, stretch, density });
    }
  }
}

/**
 * The pixels of a stretch that are in view.
 * @param {View} view
 * @param {Stretch} stretch
 */
function visible(view, { from, to }) {
  return [Math.max(0, toX(view, from)), Math.min(view.width, toX(view, to))];
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {{peaks: Peaks | null, sound: Sound | null, channel: number, box: Lane, stretch: Stretch, density: number}} what
 */
function drawColumns(context, view, { peaks, sound, channel, box, stretch, density }) {
  const [left, right] = visible(view, stretch);
  const first = Math.floor(left * density);
  const count = Math.ceil(right * density) - first;
  if (count <= 0) return;
  const values = new Float32Array(2 * count);
  const perColumn = view.perPixel / density;
  const start = view.start + first * perColumn;
  if (sound && perColumn < FROM_SAMPLES) sampleColumns(sound.channels[channel], start, perColumn, values);
  else if (peaks) columns(peaks, channel, start, perColumn, values);
  else return;
  const middle = box.y + box.height / 2;
  const scale = box.height / 2 - 1;
  const thin = 1 / density;
  for (let column = 0; column < count; column++) {
    const top = middle - values[2 * column + 1] * scale;
    const bottom = middle - values[2 * column] * scale;
    context.fillRect((first + column) * thin, top - thin / 2, thin, Math.max(thin, bottom - top + thin));
  }
}

/**
 * The lowest and highest samples of each column. Neighbors share a sample, so that the columns join.
 * @param {Float32Array} data
 * @param {number} start
 * @param {number} perColumn
 * @param {Float32Array} out
 */
export function sampleColumns(data, start, perColumn, out) {
  for (let column = 0; column < out.length / 2; column++) {
    const from = Math.max(0, Math.floor(start + column * perColumn));
    const to = Math.min(data.length - 1, Math.max(from, Math.floor(start + (column + 1) * perColumn)));
    let low = data[from] ?? 0;
    let high = low;
    for (let index = from + 1; index <= to; index++) {
      const value = data[index];
      if (value < low) low = value;
      else if (value > high) high = value;
    }
    out[2 * column] = Math.max(-1, low);
    out[2 * column + 1] = Math.min(1, high);
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Float32Array} data
 * @param {Lane} box
 * @param {Stretch} stretch
 */
function drawCurve(context, view, data, box, stretch) {
  const [left, right] = visible(view, stretch);
  const first = Math.max(0, Math.floor(view.start + left * view.perPixel));
  const last = Math.min(data.length - 1, Math.ceil(view.start + right * view.perPixel));
  const y = (/** @type {number} */ index) => box.y + box.height / 2 - Math.max(-1, Math.min(1, data[index])) * (box.height / 2 - 1);
  context.save();
  context.beginPath();
  context.rect(left, box.y, right - left, box.height);
  context.clip();
  context.beginPath();
  for (let index = first; index <= last; index++) context.lineTo(toX(view, index), y(index));
  context.lineWidth = 1.25;
  context.stroke();
  if (view.perPixel <= POINTS) {
    const size = view.perPixel < 1 / 12 ? 5 : 3;
    for (let index = first; index <= last; index++) context.fillRect(toX(view, index) - size / 2, y(index) - size / 2, size, size);
  }
  context.restore();
}
