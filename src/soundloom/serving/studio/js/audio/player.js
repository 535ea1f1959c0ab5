/**
 * Play sounds exactly: loops are looping buffers with whole-sample ends, starts lie on whole samples, and two sounds that
 * are compared run at the same time, so that a switch between them is a fade and moves nothing.
 */

import { lineAt, Metronome, positionAt, wholeSample } from "./clock.js";
import { Mixer, mixOf } from "./mixer.js";
import { bufferOf } from "./wav.js";

/** @typedef {import("./wav.js").Sound} Sound */
/** @typedef {import("./clock.js").Line} Line */
/** @typedef {import("./clock.js").Span} Span */
/** @typedef {"a" | "b"} Side */
/** @typedef {{source: AudioBufferSourceNode, edge: GainNode}} Playing */
/** @typedef {{mix: GainNode, master: GainNode, mixer: Mixer, a: Playing | null, b: Playing | null}} Graph */

const SIDES = /** @type {const} */ (["a", "b"]);
const FADE = 0.005; // seconds of a switch between sounds, and of a stop
const MARGIN = 0.003; // seconds between the block that is computed now and the first change
const GRAIN = 0.08; // seconds that play where one scrubs
const PATIENCE_MS = 2000; // until a context whose time stands still counts as having no device

export class Player extends EventTarget {
  /** @param {(rate: number) => BaseAudioContext} [makeContext] */
  constructor(makeContext = (rate) => new AudioContext({ sampleRate: rate, latencyHint: "interactive" })) {
    super();
    this._makeContext = makeContext;
    /** @type {BaseAudioContext | null} */
    this.context = null;
    /** @type {Graph | null} */
    this.graph = null;
    /** @type {Record<Side, Sound | null>} */
    this.loaded = { a: null, b: null };
    /** Samples by which each side begins later. @type {Record<Side, number>} */
    this.leads = { a: 0, b: 0 };
    /** What each side is multiplied with. @type {Record<Side, number>} */
    this.levels = { a: 1, b: 1 };
    /** @type {Side} */
    this.side = "b";
    /** Whether A − B plays. */
    this.difference = false;
    this.playing = false;
    this.volume = 1;
    this.speed = 1;
    /** @type {Span | null} */
    this._loop = null;
    this._rest = 0; // the sample where playing will begin
    this._home = 0; // the sample to which it goes back at the end
    /** @type {Line[]} */
    this._lines = [];
    this._busy = 0; // time until which the edges of sources fade
    this._mixed = 0; // time until which the sides fade
    this.metronome = new Metronome();
  }

  /** The sound that plays. */
  get sound() {
    return this.loaded[this.side];
  }

  /** The rate in which samples are counted: that of the take in the editor. */
  get rate() {
    return (this.loaded.b ?? this.loaded.a)?.rate ?? 44100;
  }

  /** Samples of the longer sound. */
  get samples() {
    return Math.max(...SIDES.map((side) => this._length(side)));
  }

  /** What is repeated. @returns {Span | null} */
  get loop() {
    const end = Math.min(this._loop?.end ?? 0, this._length("b") || this._length("a"));
    return this._loop && end > this._loop.start ? { start: this._loop.start, end } : null;
  }

  /** The sample that plays now; the output latency of the browser is taken off. */
  get position() {
    if (!this.playing || !this.context) return this._rest;
    const time = this.context.currentTime - ((/** @type {AudioContext} */ (this.context)).outputLatency || 0);
    return positionAt(lineAt(this._lines, time), time);
  }

  /**
   * Set what a side plays. While it plays, the new sound goes on at the same position.
   * @param {Side} side
   * @param {Sound | null} sound
   * @param {number} [lead] samples by which it begins later, or earlier
   */
  set(side, sound, lead = 0) {
    if (this.loaded[side] === sound && this.leads[side] === lead) return;
    const rate = this.rate;
    this.loaded[side] = sound;
    this.leads[side] = lead;
    if (this.playing && !this.sound) this.pause();
    else if (this.playing) this._begin(this.rate === rate ? null : Math.round((this.position * this.rate) / rate));
    this._rest = Math.min(this._rest, Math.max(0, this.samples - 1));
    this._tell();
  }

  /**
   * Play from a sample.
   * @param {number} [from]
   */
  play(from = this._rest) {
    if (!this.sound) return;
    this._home = 0;
    this._begin(from);
    this._tell();
  }

  /** Play a span once, and go back to its start. @param {Span} span */
  playSpan(span) {
    if (!this.sound) return;
    this._home = span.start;
    this._begin(span.start, Math.min(span.end, this.samples));
    this._tell();
  }

  pause() {
    if (!this.playing) return;
    const position = this.position;
    this.playing = false;
    this._rest = position >= this.samples ? 0 : position;
    this._stop(Math.max(this._next(), this._busy));
    this._tell();
  }

  /** @param {number} sample */
  seek(sample) {
    const at = Math.max(0, Math.min(Math.round(sample), Math.max(0, this.samples - 1)));
    this._rest = at;
    if (this.playing) this._begin(at);
    this._tell();
  }

  /** Hear a moment of the sound at a sample, while it does not play. @param {number} sample */
  scrub(sample) {
    this.seek(sample);
    if (this.playing || !this.sound || this._now() + GRAIN / 2 < this._busy) return;
    this._ready();
    const time = this._soon();
    const side = this._start(this.side, { began: time, from: this._rest, step: this.rate, end: this.samples, loop: null }, true);
    this._busy = time + GRAIN;
    if (side) this._end(side, time + GRAIN);
  }

  /**
   * Hear the other sound, or what differs.
   * @param {Side} side
   * @param {boolean} [difference]
   */
  choose(side, difference = false) {
    this.side = side;
    this.difference = difference;
    this._mix();
    this._tell();
  }

  /** @param {Record<Side, number>} levels */
  setLevels(levels) {
    this.levels = levels;
    this._mix();
  }

  /** @param {number} volume */
  setVolume(volume) {
    this.volume = volume;
    this.graph?.master.gain.setTargetAtTime(volume, this._now(), FADE);
  }

  /** Play at full or half speed. @param {number} speed */
  setSpeed(speed) {
    if (speed === this.speed) return;
    this.speed = speed;
    if (this.playing) this._begin(null);
    this._tell();
  }

  /**
   * Repeat a span; null plays to the end. The end is that of the take if that comes first.
   * @param {Span | null} span
   */
  repeat(span) {
    const before = this.loop;
    this._loop = span;
    const now = this.loop;
    if (before?.start === now?.start && before?.end === now?.end) return;
    if (this.playing) this._begin(null);
    this._tell();
  }

  /** @param {Side} side */
  _length(side) {
    const sound = this.loaded[side];
    return sound ? Math.max(0, Math.round((sound.samples * this.rate) / sound.rate) + this.leads[side]) : 0;
  }

  _now() {
    return this.context?.currentTime ?? 0;
  }

  /** The first time at which a change does not come late. */
  _next() {
    return this._now() + ((/** @type {AudioContext | null} */ (this.context))?.baseLatency || 0) + MARGIN;
  }

  /** The time of the next start; sides that fade are done before it. */
  _soon() {
    return wholeSample(Math.max(this._next() + 2 * FADE, this._busy), this.rate);
  }

  /**
   * Begin to play, or go on elsewhere; null goes on where it is.
   * @param {number | null} at
   * @param {number} [until]
   */
  _begin(at, until) {
    const fresh = !this.playing;
    if (fresh) this._mix();
    const context = this._ready();
    for (const side of SIDES) this._buffer(side); // copying takes time, and comes before the time is chosen
    const time = this._soon();
    const { loop } = this;
    let from = at ?? positionAt(lineAt(this._lines, time), time);
    const end = until ?? this.samples;
    if (from >= (until || !loop ? end : loop.end)) from = until || !loop ? this._home : loop.start;
    if (at === null && loop && from < loop.start) from = loop.start;
    const line = { began: time, from, step: this.rate * this.speed, end, loop: until ? null : loop };
    this._stop(time);
    this._lines = fresh ? [line] : [lineAt(this._lines, context.currentTime), line];
    this.playing = true;
    this._busy = time + FADE;
    for (const side of SIDES) this._start(side, line, !fresh, until);
    this.metronome.follow(line, this.rate);
    if (fresh) this._watchDevice();
  }

  /**
   * @param {Side} side
   * @param {Line} line
   * @param {boolean} fade whether the start is faded in
   * @param {number} [until]
   * @returns {Playing | null}
   */
  _start(side, line, fade, until) {
    const { context, graph } = this;
    const buffer = this._buffer(side);
    if (!context || !graph || !buffer || (line.from >= this._length(side) && !line.loop)) return null;
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.playbackRate.value = line.step / this.rate;
    if (line.loop) {
      source.loop = true;
      source.loopStart = line.loop.start / this.rate;
      source.loopEnd = line.loop.end / this.rate;
    }
    const edge = context.createGain();
    if (fade) {
      edge.gain.setValueAtTime(0, line.began);
      edge.gain.linearRampToValueAtTime(1, line.began + FADE);
    }
    source.connect(edge).connect(graph.mixer.inputs[side]);
    source.start(line.began, line.from / this.rate);
    if (until) source.stop(line.began + (until - line.from) / line.step);
    source.onended = () => this._ended(source, side);
    return (graph[side] = { source, edge });
  }

  /**
   * @param {AudioBufferSourceNode} source
   * @param {Side} side
   */
  _ended(source, side) {
    if (!this.graph || this.graph[side]?.source !== source) return;
    this.graph[side] = null;
    if (this.playing && SIDES.every((one) => !this.graph?.[one])) {
      this.playing = false;
      this._rest = this._home;
      this.metronome.stop(0);
      this._tell();
    }
  }

  /** Fade out what plays. @param {number} time */
  _stop(time) {
    this.metronome.stop(time);
    for (const side of SIDES) {
      const playing = this.graph?.[side];
      if (playing && this.graph) {
        this.graph[side] = null;
        this._end(playing, time + FADE);
      }
    }
  }

  /**
   * @param {Playing} playing
   * @param {number} time when it is silent
   */
  _end({ source, edge }, time) {
    edge.gain.setValueAtTime(1, time - FADE);
    edge.gain.linearRampToValueAtTime(0, time);
    source.stop(time);
  }

  _mix() {
    const mix = mixOf(this.side, this.difference, this.levels);
    if (!this.playing) this.graph?.mixer.set(mix, this._now());
    else {
      const time = Math.max(this._next(), this._mixed); // after the fade before
      if (this.graph?.mixer.fade(mix, time, time + FADE)) this._mixed = time + FADE;
    }
  }

  /**
   * A context at the rate of the sound, so that no sample is computed anew.
   * @returns {BaseAudioContext}
   */
  _ready() {
    if (!this.context || !this.graph || this.context.sampleRate !== this.rate) {
      if (this.context && "close" in this.context) void (/** @type {AudioContext} */ (this.context)).close();
      this.context = this._makeContext(this.rate);
      this.graph = this._wire(this.context);
      this._busy = this._mixed = 0;
      this.metronome.connect(this.context, this.graph.master);
      this._lines = this._lines.map((line) => ({ ...line, began: 0 }));
      this.dispatchEvent(new Event("context"));
    }
    if (this.context.state === "suspended" && "close" in this.context) void (/** @type {AudioContext} */ (this.context)).resume();
    return this.context;
  }

  /**
   * @param {BaseAudioContext} context
   * @returns {Graph}
   */
  _wire(context) {
    const [mix, master] = [context.createGain(), context.createGain()];
    master.gain.value = this.volume;
    mix.connect(master).connect(context.destination);
    return { mix, master, mixer: new Mixer(context, mix, mixOf(this.side, this.difference, this.levels)), a: null, b: null };
  }

  /** @param {Side} side */
  _buffer(side) {
    const sound = this.loaded[side];
    const ratio = sound ? sound.rate / this.rate : 1;
    const least = Math.ceil((this.loop?.end ?? 0) * ratio);
    return sound && this.context ? bufferOf(this.context, sound, Math.round(this.leads[side] * ratio), least) : null;
  }

  /** Say so if nothing moves: there is no device, or it hangs. */
  _watchDevice() {
    const context = this.context;
    if (!context || !("close" in context)) return;
    const from = context.currentTime;
    setTimeout(() => {
      if (this.playing && this.context === context && context.currentTime === from) this.dispatchEvent(new Event("silent"));
    }, PATIENCE_MS);
  }

  _tell() {
    this.dispatchEvent(new Event("change"));
  }
}
