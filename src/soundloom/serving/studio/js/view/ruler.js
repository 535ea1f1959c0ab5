/** Draw the ruler, the lines of the grid, and the marks: regions with their hatching and crossfades, ghosts. */

import { beatSample } from "../state/tempo.js";
import { barAndBeat, beatStep, beatsTo, SECOND_STEPS, step, toSample, toX } from "./grid.js";
import { fadeOf } from "./regions.js";

/**
 * @typedef {import("./grid.js").View} View
 * @typedef {import("./grid.js").Grid} Grid
 * @typedef {import("./wave.js").Lane} Lane
 * @typedef {import("../types.js").Span} Span
 * @typedef {import("../parts/palette.js").Palette} Palette
 */

export const ROW = 18;
const LABEL = 64; // pixels between labels of the ruler
const LINE = 14; // pixels between its lines
const HATCH = 8; // pixels between the lines of hatching

/**
 * Draw rows of bars, where there is a grid, and of seconds; and the lines of bars and beats over the sound.
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {{grid: Grid | null, rate: number, low: number, high: number, lanes: Lane, colors: Palette}} what
 */
export function drawRuler(context, view, { grid, rate, low, high, lanes, colors }) {
  context.font = colors.font;
  context.textBaseline = "middle";
  const left = Math.max(low, toSample(view, 0));
  const right = Math.min(high, toSample(view, view.width));
  if (grid) drawBars(context, view, grid, rate, left, right, lanes, colors);
  const y = grid ? ROW : 0;
  const perSecond = rate / view.perPixel;
  const labels = step(perSecond, LABEL, SECOND_STEPS) ?? 1;
  const lines = step(perSecond, LINE, SECOND_STEPS.filter((one) => one <= labels && isPart(labels, one))) ?? labels;
  const digits = Math.max(0, Math.min(6, Math.ceil(-Math.log10(labels) - 1e-9)));
  for (let at = Math.ceil(left / rate / lines - 1e-9); at * lines * rate <= right + 0.5; at++) {
    const x = toX(view, at * lines * rate);
    const major = isPart(at * lines, labels);
    line(context, x, y + (major ? 2 : ROW - 5), y + ROW, colors.line);
    if (major) label(context, seconds(at * lines, digits), x, y, colors.soft);
    if (major && !grid) line(context, x, lanes.y, lanes.y + lanes.height, colors.faint);
  }
}

/** @param {number} whole @param {number} part */
const isPart = (whole, part) => Math.abs(whole / part - Math.round(whole / part)) < 1e-4;

/**
 * @param {number} value
 * @param {number} digits
 */
function seconds(value, digits) {
  if (value < 60) return value.toFixed(digits);
  const rest = (value % 60).toFixed(digits);
  return `${Math.floor(value / 60)}:${rest.padStart(digits ? digits + 3 : 2, "0")}`;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Grid} grid
 * @param {number} rate
 * @param {number} left
 * @param {number} right
 * @param {Lane} lanes
 * @param {Palette} colors
 */
function drawBars(context, view, grid, rate, left, right, lanes, colors) {
  const lines = beatStep(grid, rate, view.perPixel, LINE) ?? grid.beats;
  const labels = Math.max(lines, beatStep(grid, rate, view.perPixel, 44) ?? grid.beats);
  let last = 0;
  for (let at = Math.ceil(beatsTo(grid, rate, left) / lines - 1e-9); beatSample(grid, rate, at * lines) <= right + 0.5; at++) {
    const beat = at * lines;
    const x = toX(view, beatSample(grid, rate, beat));
    const isBar = isPart(beat, grid.beats);
    const major = isPart(beat, labels);
    line(context, x, isBar || major ? 2 : ROW - 5, ROW, isBar ? colors.soft : colors.line);
    line(context, x, lanes.y, lanes.y + lanes.height, isBar ? colors.line : colors.faint);
    if (!major) continue;
    const bar = Math.floor(beat / grid.beats + 1e-9);
    const rest = beat - bar * grid.beats;
    const text = isBar ? `${bar + 1}` : `${bar + 1}.${Math.floor(rest + 1e-9) + 1}`;
    if (!isPart(rest, 1)) continue;
    label(context, text, x, 0, isBar ? colors.text : colors.soft);
    last = x;
  }
  const { bar, beat } = barAndBeat(Math.ceil(left), rate, grid);
  if (last === 0) label(context, `${bar}.${beat}`, Math.max(0, toX(view, left)), 0, colors.soft); // between two beats
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {string} text
 * @param {number} x
 * @param {number} y
 * @param {string} color
 */
function label(context, text, x, y, color) {
  context.fillStyle = color;
  context.fillText(text, x + 4, y + ROW / 2);
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} x
 * @param {number} top
 * @param {number} bottom
 * @param {string} color
 */
function line(context, x, top, bottom, color) {
  context.fillStyle = color;
  context.fillRect(Math.round(x), top, 1, bottom - top);
}

/**
 * A span in pixels, kept near what is in view.
 * @param {View} view
 * @param {Span} span
 * @returns {[number, number] | null}
 */
export function shown(view, { start, end }) {
  const left = Math.max(-20, toX(view, start));
  const right = Math.min(view.width + 20, toX(view, end));
  return left < right ? [left, right] : null;
}

/**
 * Draw a region: a tint, hatching, and at both edges the crossfade at its true length.
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Span} span
 * @param {{lanes: Lane, samples: number, crossfade: number, used: boolean, colors: Palette}} what  `crossfade` in samples
 */
export function drawRegion(context, view, span, { lanes, samples, crossfade, used, colors }) {
  const found = shown(view, span);
  if (!found) return;
  context.globalAlpha = used ? 1 : 0.3;
  const [left, right] = found;
  context.fillStyle = colors.region;
  context.fillRect(left, lanes.y, right - left, lanes.height);
  if (used) hatch(context, left, right, lanes, colors.edge, -view.start / view.perPixel);
  for (const x of [toX(view, span.start), toX(view, span.end)]) line(context, x - 0.5, lanes.y, lanes.y + lanes.height, colors.edge);
  const fade = fadeOf(span, crossfade);
  if (span.start > 0) drawFade(context, view, span.start, span.start + fade, lanes, colors.edge);
  if (span.end < samples) drawFade(context, view, span.end, span.end - fade, lanes, colors.edge);
  context.globalAlpha = 1;
}

/**
 * The share of new sound from a kept edge inward: a raised cosine.
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {number} from
 * @param {number} to
 * @param {Lane} lanes
 * @param {string} color
 */
function drawFade(context, view, from, to, lanes, color) {
  const [first, last] = [toX(view, from), toX(view, to)];
  if (Math.abs(last - first) < 1.5 || Math.max(first, last) < 0 || Math.min(first, last) > view.width) return;
  context.beginPath();
  for (let part = 0; part <= 24; part++) {
    const share = 0.5 - 0.5 * Math.cos((Math.PI * part) / 24);
    context.lineTo(first + ((last - first) * part) / 24, lanes.y + (1 - share) * (lanes.height - 2) + 1);
  }
  context.strokeStyle = color;
  context.lineWidth = 2;
  context.stroke();
}

/**
 * Diagonal lines that move with the sound.
 * @param {CanvasRenderingContext2D} context
 * @param {number} left
 * @param {number} right
 * @param {Lane} box
 * @param {string} color
 * @param {number} [phase] pixels
 * @param {number} [strength]
 */
export function hatch(context, left, right, { y, height }, color, phase = 0, strength = 0.45) {
  context.save();
  context.beginPath();
  context.rect(left, y, right - left, height);
  context.clip();
  context.beginPath();
  const first = left - height - ((((left - height - phase) % HATCH) + HATCH) % HATCH);
  for (let x = first; x < right; x += HATCH) {
    context.moveTo(x, y + height);
    context.lineTo(x + height, y);
  }
  context.globalAlpha *= strength;
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.stroke();
  context.restore();
}

/**
 * Where an extension will be: its length, dashed around.
 * @param {CanvasRenderingContext2D} context
 * @param {View} view
 * @param {Span} span
 * @param {Lane} lanes
 * @param {string} text
 * @param {Palette} colors
 */
export function drawGhost(context, view, span, lanes, text, colors) {
  const found = shown(view, span);
  if (!found) return;
  const [left, right] = found;
  context.fillStyle = colors.region;
  context.fillRect(left, lanes.y, right - left, lanes.height);
  hatch(context, left, right, lanes, colors.edge, -view.start / view.perPixel);
  context.setLineDash([5, 4]);
  context.strokeStyle = colors.edge;
  context.strokeRect(left + 0.5, lanes.y + 0.5, right - left - 1, lanes.height - 1);
  context.setLineDash([]);
  context.font = colors.font;
  context.textBaseline = "middle";
  const width = context.measureText(text).width + 16;
  if (width > right - left - 8) return;
  const [x, y] = [(left + right - width) / 2, lanes.y + lanes.height / 2];
  context.fillStyle = colors.raised;
  context.beginPath();
  context.roundRect(x, y - 12, width, 24, 12);
  context.fill();
  context.fillStyle = colors.text;
  context.fillText(text, x + 8, y + 1);
}
