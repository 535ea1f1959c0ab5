/**
 * Where playing is at a time, and which beats come when. Pure.
 *
 * A line is a stretch of playing: from sample `from` at the context's time `began`, `step` samples in a second.
 * @typedef {{began: number, from: number, step: number, end: number, loop: Span | null}} Line
 * @typedef {{start: number, end: number}} Span
 * @typedef {import("../types.js").Grid} Grid
 */

import { beatAt, beatSample } from "../state/tempo.js";

/**
 * The sample that is played at a time.
 * @param {Line} line
 * @param {number} time
 */
export function positionAt({ began, from, step, end, loop }, time) {
  const at = from + Math.max(0, Math.round((time - began) * step));
  if (!loop || from >= loop.end) return Math.min(at, end);
  return at < loop.end ? at : loop.start + ((at - loop.start) % (loop.end - loop.start));
}

/**
 * The line of several that is played at a time, the first one before all of them.
 * @param {Line[]} lines
 * @param {number} time
 */
export function lineAt(lines, time) {
  return lines.findLast((line) => line.began <= time) ?? lines[0];
}

/**
 * The next whole sample of a context at or after a time.
 * @param {number} time
 * @param {number} rate
 */
export function wholeSample(time, rate) {
  return Math.ceil(time * rate - 1e-6) / rate;
}

/**
 * The beats of a line from one time up to another: when each is heard, and whether it begins a bar.
 * @param {Line} line
 * @param {Grid} grid
 * @param {number} rate
 * @param {number} from
 * @param {number} to
 * @returns {{time: number, accent: boolean}[]}
 */
export function beatsBetween(line, grid, rate, from, to) {
  const found = [];
  for (const part of parts(line, from, to)) {
    for (let beat = beatAt(grid, rate, part.start - 1) + 1; beatSample(grid, rate, beat) < part.end; beat++) {
      const time = part.time + (beatSample(grid, rate, beat) - part.start) / line.step;
      found.push({ time, accent: beat % grid.beats === 0 });
    }
  }
  return found;
}

/**
 * The spans that a line plays from one time up to another, in order: a loop is one for each turn.
 * @param {Line} line
 * @param {number} from
 * @param {number} to
 * @returns {(Span & {time: number})[]}
 */
function parts(line, from, to) {
  const found = [];
  let time = Math.max(from, line.began);
  while (time < to) {
    const start = positionAt(line, time);
    const last = line.loop && start < line.loop.end ? line.loop.end : line.end;
    const end = Math.min(last, start + Math.ceil((to - time) * line.step));
    if (end <= start) break;
    found.push({ start, end, time });
    time += (end - start) / line.step;
  }
  return found;
}
