/**
 * Play sounds exactly: loops are looping buffers with whole-sample ends, starts lie on whole samples, and two sounds that
 * are compared run at the same time, so that a switch between them is a fade and moves nothing.
 */

/** @typedef {import("./wav.js").Sound} Sound */
/** @typedef {{start: number, end: number}} Span */

const FADE = 0.005; // seconds of a switch between sounds, and of a stop
const LEAD = 0.02; // seconds from a call to the first sample, so that it is not late

/** @typedef {{gain: GainNode, source: AudioBufferSourceNode | null, sound: Sound | null, level: number}} Voice */

export class Player extends EventTarget {
  constructor() {
    super();
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {Record<"a" | "b", Voice> | null} */
    this.voices = null;
    /** @type {Record<"a" | "b", {sound: Sound, level: number} | null>} */
    this.loaded = { a: null, b: null };
    /** @type {"a" | "b"} */
    this.side = "b";
    /** @type {Span | null} */
    this.loop = null;
    this.playing = false;
    this.volume = 1;
    this._from = 0; // sample at which playing began, or where it stopped
    this._began = 0; // time of the context at that sample
  }

  /** The sound that is heard. */
  get sound() {
    return this.loaded[this.side]?.sound ?? null;
  }

  /**
   * Set what a side plays. While it plays, the new sound goes on at the same position.
   * @param {"a" | "b"} side
   * @param {Sound | null} sound
   * @param {number} [level] a factor
   */
  set(side, sound, level = 1) {
    const position = this.position;
    this.loaded[side] = sound ? { sound, level } : null;
    if (this.playing) this.play(position);
    else this._from = Math.min(position, Math.max(0, this.samples - 1));
    this._tell();
  }

  /** Samples of the longer sound. */
  get samples() {
    return Math.max(this.loaded.a?.sound.samples ?? 0, this.loaded.b?.sound.samples ?? 0);
  }

  get rate() {
    return this.sound?.rate ?? 44100;
  }

  /** The sample that is heard now; the browser's output latency is taken off. */
  get position() {
    if (!this.playing || !this.context) return this._from;
    const latency = this.context.outputLatency || 0;
    const passed = Math.max(0, Math.round((this.context.currentTime - latency - this._began) * this.rate));
    const at = this._from + passed;
    if (this.loop && at >= this.loop.end && this._from < this.loop.end) {
      const length = this.loop.end - this.loop.start;
      return this.loop.start + ((at - this.loop.start) % length);
    }
    return Math.min(at, this.samples);
  }

  /**
   * Play from a sample.
   * @param {number} [from]
   */
  play(from = this.position) {
    if (!this.sound) return;
    const context = this._ready(this.rate);
    this._silence();
    const end = this.loop ? this.loop.end : this.samples;
    this._from = from >= end ? (this.loop?.start ?? 0) : Math.max(0, from);
    this._began = context.currentTime + LEAD;
    this.playing = true;
    for (const side of /** @type {const} */ (["a", "b"])) this._start(side);
    this._tell();
  }

  pause() {
    if (!this.playing) return;
    const position = this.position;
    this.playing = false;
    this._from = position >= this.samples ? 0 : position;
    this._silence();
    this._tell();
  }

  /** @param {number} sample */
  seek(sample) {
    const at = Math.max(0, Math.min(Math.round(sample), Math.max(0, this.samples - 1)));
    if (this.playing) this.play(at);
    else this._from = at;
    this._tell();
  }

  /**
   * Hear the other sound.
   * @param {"a" | "b"} side
   */
  choose(side) {
    this.side = side;
    this._mix();
    this._tell();
  }

  /**
   * Repeat a span; null plays to the end. Moving the ends while it plays takes effect at once.
   * @param {Span | null} span
   */
  repeat(span) {
    const position = this.position;
    this.loop = span;
    if (this.playing) {
      const inside = !span || (position >= span.start && position < span.end);
      this.play(inside ? position : span.start);
    }
    this._tell();
  }

  /** @param {number} volume */
  setVolume(volume) {
    this.volume = volume;
    this._mix();
  }

  /**
   * @param {"a" | "b"} side
   */
  _start(side) {
    const { context, voices } = this;
    const loaded = this.loaded[side];
    if (!context || !voices || !loaded) return;
    const { sound } = loaded;
    const from = Math.min(this._from, sound.samples);
    if (from >= sound.samples && !this.loop) return;
    const source = context.createBufferSource();
    source.buffer = bufferOf(context, sound);
    if (this.loop && this.loop.end <= sound.samples) {
      source.loop = true;
      source.loopStart = this.loop.start / sound.rate;
      source.loopEnd = this.loop.end / sound.rate;
    }
    source.connect(voices[side].gain);
    source.start(this._began, from / sound.rate);
    source.onended = () => this._ended(source, side);
    voices[side].source = source;
  }

  /**
   * @param {AudioBufferSourceNode} source
   * @param {"a" | "b"} side
   */
  _ended(source, side) {
    if (!this.voices || this.voices[side].source !== source) return;
    this.voices[side].source = null;
    if (!this.voices.a.source && !this.voices.b.source) {
      this.playing = false;
      this._from = 0;
      this._tell();
    }
  }

  _silence() {
    if (!this.voices) return;
    for (const voice of Object.values(this.voices)) {
      const { source } = voice;
      voice.source = null;
      source?.stop();
      source?.disconnect();
    }
  }

  _mix() {
    if (!this.voices || !this.context) return;
    for (const side of /** @type {const} */ (["a", "b"])) {
      const level = (this.loaded[side]?.level ?? 1) * this.volume;
      const goal = side === this.side ? level : 0;
      const { gain } = this.voices[side].gain;
      gain.cancelScheduledValues(this.context.currentTime);
      if (this.playing) {
        gain.setValueAtTime(gain.value, this.context.currentTime);
        gain.linearRampToValueAtTime(goal, this.context.currentTime + FADE);
      } else {
        gain.setValueAtTime(goal, this.context.currentTime);
      }
    }
  }

  /**
   * A context at the rate of the sound, so that no sample is computed anew.
   * @param {number} rate
   * @returns {AudioContext}
   */
  _ready(rate) {
    if (!this.context || this.context.sampleRate !== rate) {
      void this.context?.close();
      this.context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
      const output = this.context.destination;
      const voice = () => {
        const gain = /** @type {AudioContext} */ (this.context).createGain();
        gain.connect(output);
        return { gain, source: null, sound: null, level: 1 };
      };
      this.voices = { a: voice(), b: voice() };
      this.dispatchEvent(new Event("context"));
    }
    if (this.context.state === "suspended") void this.context.resume();
    this._mix();
    return this.context;
  }

  _tell() {
    this.dispatchEvent(new Event("change"));
  }
}

/** @type {WeakMap<Sound, AudioBuffer>} */
const buffers = new WeakMap();

/**
 * @param {BaseAudioContext} context
 * @param {Sound} sound
 */
function bufferOf(context, sound) {
  let buffer = buffers.get(sound);
  if (!buffer) {
    buffer = context.createBuffer(sound.channels.length, Math.max(1, sound.samples), sound.rate);
    sound.channels.forEach((channel, index) => buffer?.copyToChannel(channel, index));
    buffers.set(sound, buffer);
  }
  return buffer;
}
