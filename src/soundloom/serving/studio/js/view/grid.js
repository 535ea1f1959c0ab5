/**
 * Positions: the part of a take that is in view, the beats it lies on, and places to snap to. Pure.
 *
 * @typedef {import("../types.js").Grid} Grid
 * @typedef {import("../types.js").Span} Span
 * @typedef {{start: number, perPixel: number, width: number}} View  `start`: the sample at the left edge; may be negative
 * @typedef {"seconds" | "bars" | "samples"} Unit
 */

import { beatSample } from "../state/tempo.js";

export const MIN_PER_PIXEL = 1 / 32;

/**
 * @param {Grid} grid
 * @param {number} rate
 * @param {number} sample
 */
export const beatsTo = (grid, rate, sample) => ((sample - grid.first) * grid.bpm) / (60 * rate);

/** @param {View} view @param {number} sample */
export const toX = (view, sample) => (sample - view.start) / view.perPixel;
/** @param {View} view @param {number} x */
export const toSample = (view, x) => view.start + x * view.perPixel;

/**
 * The view of all samples from `low` to `high`, with room at the sides.
 * @param {number} low
 * @param {number} high
 * @param {number} width
 * @param {number} margin pixels
 * @returns {View}
 */
export function whole(low, high, width, margin) {
  const perPixel = Math.max(MIN_PER_PIXEL, (high - low) / Math.max(1, width - 2 * margin));
  return { start: low - margin * perPixel, perPixel, width };
}

/**
 * Zoom so that the sample at `x` stays there. Returns null for the view of everything.
 * @param {View} view
 * @param {View} all
 * @param {number} factor above 1: nearer
 * @param {number} x
 * @returns {{start: number, perPixel: number} | null}
 */
export function zoomed(view, all, factor, x) {
  const perPixel = Math.max(MIN_PER_PIXEL, view.perPixel / factor);
  if (perPixel >= all.perPixel) return null;
  return within({ start: toSample(view, x) - x * perPixel, perPixel }, all);
}

/**
 * @param {{start: number, perPixel: number}} zoom
 * @param {View} all
 */
export function within(zoom, all) {
  const highest = all.start + all.width * (all.perPixel - zoom.perPixel);
  return { ...zoom, start: Math.max(all.start, Math.min(zoom.start, highest)) };
}

/**
 * The lines of the ruler: their distance in units of `base`, so that they are at least `pixels` apart.
 * @param {number} perUnit pixels of a unit
 * @param {number} pixels
 * @param {number[]} steps ascending units; beyond the last, powers of two of it
 */
export function step(perUnit, pixels, steps) {
  let found = steps.find((one) => one * perUnit >= pixels);
  for (let last = steps[steps.length - 1]; found === undefined; last *= 2) if (last * 2 * perUnit >= pixels) found = last * 2;
  return found;
}

export const SECOND_STEPS = [1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60];

/**
 * The distance of the lines of beats in view, in beats.
 * @param {Grid} grid
 * @param {number} rate
 * @param {number} perPixel
 * @param {number} pixels
 */
export function beatStep(grid, rate, perPixel, pixels) {
  const perBeat = (60 * rate) / grid.bpm / perPixel;
  return step(perBeat, pixels, [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, grid.beats]);
}

/**
 * Where a position snaps to, or itself.
 * @param {number} sample
 * @param {{mode: import("../state/storage.js").Settings["snap"], grid: Grid | null, rate: number, samples: number,
 *   reach: number, sound: import("../audio/wav.js").Sound | null, onsets: number[]}} around  `reach` in samples
 */
export function snapped(sample, { mode, grid, rate, samples, reach, sound, onsets }) {
  const at = Math.round(sample);
  const found = [];
  if ((mode === "beat" || mode === "bar") && grid) {
    const unit = mode === "bar" ? grid.beats : 1;
    found.push(beatSample(grid, rate, Math.round(beatsTo(grid, rate, at) / unit) * unit));
  } else if (mode === "onset") {
    found.push(...onsets.map((second) => Math.round(second * rate)).filter((onset) => Math.abs(onset - at) <= reach));
  } else if (mode === "zero" && sound) {
    found.push(zeroCrossing(sound, at, Math.round(Math.min(reach, rate / 50))));
  }
  if (mode !== "off") found.push(...[0, samples].filter((end) => Math.abs(end - at) <= reach));
  return found.reduce((best, one) => (Math.abs(one - at) < Math.abs(best - at) ? one : best), found[0] ?? at);
}

/**
 * The nearest sample where the sum of the channels goes through zero; the sample itself if none is near.
 * @param {import("../audio/wav.js").Sound} sound
 * @param {number} at
 * @param {number} reach
 */
function zeroCrossing(sound, at, reach) {
  const value = (/** @type {number} */ index) => sound.channels.reduce((sum, channel) => sum + channel[index], 0);
  for (let distance = 0; distance <= reach; distance++) {
    for (const index of [at - distance, at + distance]) {
      if (index > 0 && index < sound.samples && value(index - 1) < 0 !== value(index) < 0) return index;
    }
  }
  return at;
}

/**
 * A position to read and to type: "1.25", "2.3.50" (bar, beat, hundredths of a beat) or "55125".
 * @param {number} sample
 * @param {Unit} unit
 * @param {number} rate
 * @param {Grid | null} grid
 */
export function written(sample, unit, rate, grid) {
  if (unit === "samples") return String(sample);
  if (unit === "bars" && grid) {
    const { bar, beat, rest } = barAndBeat(sample, rate, grid);
    return rest ? `${bar}.${beat}.${String(rest).padStart(2, "0")}` : beat > 1 ? `${bar}.${beat}` : String(bar);
  }
  return String(Number((sample / rate).toFixed(6)));
}

/**
 * @param {number} sample
 * @param {number} rate
 * @param {Grid} grid
 */
export function barAndBeat(sample, rate, grid) {
  const hundredths = Math.round(beatsTo(grid, rate, sample) * 100);
  const beats = Math.floor(hundredths / 100);
  const bar = Math.floor(beats / grid.beats);
  return { bar: bar + 1, beat: beats - bar * grid.beats + 1, rest: hundredths - beats * 100 };
}

/**
 * Read a typed position: null if it is none. A whole number with "s" beyond the end of the take counts samples.
 * @param {string} text
 * @param {Unit} unit
 * @param {number} rate
 * @param {Grid | null} grid
 * @param {number} samples of the take
 */
export function parsed(text, unit, rate, grid, samples) {
  const clean = text.trim().toLowerCase().replace(",", ".");
  const minutes = /^(\d+):(\d+(?:\.\d+)?)$/.exec(clean);
  if (minutes) return Math.round((60 * Number(minutes[1]) + Number(minutes[2])) * rate);
  const match = /^(\d+(?:\.\d+)?)(?:\.(\d+))?\s*(s|samples|ms)?$/.exec(clean);
  if (!match) return null;
  const [, first, third, suffix] = match;
  const value = Number(first);
  if (suffix === "samples" || (suffix === "s" && Number.isInteger(value) && value * rate > samples && value <= samples)) return Math.round(value);
  if (suffix === "ms") return Math.round((value * rate) / 1000);
  if (suffix === "s" || (unit === "seconds" && !third)) return Math.round(value * rate);
  if (unit === "samples" && !third) return Math.round(value);
  return grid ? barPosition(first, third, rate, grid) : null;
}

/**
 * @param {string} first bar, or bar.beat
 * @param {string | undefined} rest hundredths of a beat
 * @param {number} rate
 * @param {Grid} grid
 */
function barPosition(first, rest, rate, grid) {
  const [bar, beat = "1"] = first.split(".");
  if (Number(bar) < 1 || Number(beat) < 1 || Number(beat) > grid.beats) return null;
  return beatSample(grid, rate, (Number(bar) - 1) * grid.beats + Number(beat) - 1 + Number(`0.${rest ?? 0}`));
}

/**
 * Read a typed range, such as "1.0–1.5", "2.3-3" or "44100–66150s".
 * @param {string} text
 * @param {Unit} unit
 * @param {number} rate
 * @param {Grid | null} grid
 * @param {number} samples
 * @returns {Span | null}
 */
export function parsedRange(text, unit, rate, grid, samples) {
  const match = /^(.+?)\s*(?:[-–—]|to)\s*(.+?)$/i.exec(text.trim());
  if (!match) return null;
  const suffix = /[a-z]+$/i.exec(match[2].trim())?.[0] ?? "";
  const end = parsed(match[2], unit, rate, grid, samples);
  const inSamples = suffix === "s" && end !== null && String(end) === match[2].trim().slice(0, -1).trim();
  const start = parsed(/[a-z]$/i.test(match[1]) ? match[1] : match[1] + (inSamples ? "samples" : suffix), unit, rate, grid, samples);
  return start !== null && end !== null && start < end ? { start, end } : null;
}
