/**
 * Where playing is at a time, which beats come when, and a metronome that clicks on them.
 *
 * A line is a stretch of playing: from sample `from` at the context's time `began`, `step` samples in a second.
 * @typedef {{began: number, from: number, step: number, end: number, loop: Span | null}} Line
 * @typedef {{start: number, end: number}} Span
 * @typedef {import("../types.js").Grid} Grid
 */

import { beatAt, beatSample } from "../state/tempo.js";

const AHEAD = 1.5; // seconds; browsers wake a hidden page once in a second
const EVERY_MS = 250;

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
 * The beats of a line from one time up to another: when each plays, and whether it begins a bar.
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

/** Clicks on the beats of what is played. They are placed exactly, some time ahead. */
export class Metronome {
  constructor() {
    /** @type {Grid | null} */
    this.grid = null;
    /** @type {BaseAudioContext | null} */
    this.context = null;
    /** @type {AudioNode | null} */
    this.output = null;
    /** @type {{line: Line, rate: number} | null} */
    this.playing = null;
    /** @type {{source: AudioBufferSourceNode, time: number}[]} */
    this.placed = [];
    this.until = 0;
    this.timer = 0;
  }

  /**
   * @param {BaseAudioContext} context
   * @param {AudioNode} output
   */
  connect(context, output) {
    Object.assign(this, { context, output, placed: [], until: 0 });
  }

  /** @param {Grid | null} grid null: no clicks */
  set(grid) {
    const { playing } = this;
    this.stop(0);
    this.grid = grid;
    if (playing) this.follow(playing.line, playing.rate);
  }

  /**
   * Click along with a line, until the next one or a stop.
   * @param {Line} line
   * @param {number} rate of its samples
   */
  follow(line, rate) {
    this.playing = { line, rate };
    this.until = line.began;
    this._place();
  }

  /** Take back the clicks from a time on. @param {number} time */
  stop(time) {
    clearTimeout(this.timer);
    this.playing = null;
    for (const click of this.placed) if (click.time >= time) click.source.stop();
    this.placed = [];
  }

  _place() {
    const { context, output, grid, playing } = this;
    if (!context || !output || !grid || !playing) return;
    const now = context.currentTime;
    const to = now + AHEAD;
    this.placed = this.placed.filter((click) => click.time >= now);
    for (const { time, accent } of beatsBetween(playing.line, grid, playing.rate, Math.max(now, this.until), to)) {
      const source = context.createBufferSource();
      source.buffer = clickOf(context, accent);
      source.connect(output);
      source.start(time);
      this.placed.push({ source, time });
    }
    this.until = Math.max(this.until, to);
    this.timer = setTimeout(() => this._place(), EVERY_MS);
  }
}

/**
 * A decaying tone, higher at the first beat of a bar.
 * @param {BaseAudioContext} context
 * @param {boolean} accent
 */
function clickOf(context, accent) {
  const rate = context.sampleRate;
  const buffer = context.createBuffer(1, Math.ceil(0.03 * rate), rate);
  const pitch = (2 * Math.PI * (accent ? 1760 : 1175)) / rate;
  const samples = Float32Array.from({ length: buffer.length }, (_, at) =>
    (accent ? 0.5 : 0.3) * Math.sin(pitch * at) * Math.exp(-at / (0.006 * rate)));
  buffer.copyToChannel(samples, 0);
  return buffer;
}
