/** Clicks on the beats of what is played. They are placed exactly, some time ahead. */

import { beatsBetween } from "./clock.js";

/** @typedef {import("../types.js").Grid} Grid */
/** @typedef {import("./clock.js").Line} Line */

const AHEAD = 1.5; // seconds; browsers wake a hidden page once in a second
const EVERY_MS = 250;

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
