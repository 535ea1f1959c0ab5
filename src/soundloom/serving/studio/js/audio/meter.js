/** Measure what is played: the level of each channel, and the true peak between the samples. */

/** @typedef {import("./player.js").Player} Player */

const SIZE = 2048; // samples looked at in each frame; frames that are less than 46 ms apart miss none
const TAPS = 12;
const FRACTIONS = [0.25, 0.5, 0.75];
const FALL = 24; // dB in a second, of the display
export const FLOOR = -48; // dB, the left end of the display

const filters = FRACTIONS.map((fraction) => {
  const values = Array.from({ length: TAPS }, (_, tap) => {
    const x = tap - TAPS / 2 + 1 - fraction;
    return (Math.sin(Math.PI * x) / (Math.PI * x)) * Math.cos((Math.PI * x) / TAPS) ** 2;
  });
  const sum = values.reduce((all, value) => all + value);
  return Float32Array.from(values, (value) => value / sum);
});

/**
 * The highest level of a sound, also between its samples (four times the rate, as ITU-R BS.1770 has it).
 * @param {Float32Array} samples
 */
export function truePeak(samples) {
  let highest = 0;
  for (let at = 0; at < samples.length; at++) {
    highest = Math.max(highest, Math.abs(samples[at]));
    if (at + TAPS > samples.length) continue;
    for (const filter of filters) {
      let sum = 0;
      for (let tap = 0; tap < TAPS; tap++) sum += filter[tap] * samples[at + tap];
      highest = Math.max(highest, Math.abs(sum));
    }
  }
  return highest;
}

/** @param {number} level */
export function decibels(level) {
  return level > 0 ? 20 * Math.log10(level) : -Infinity;
}

export class Meter {
  /** @param {Player} player */
  constructor(player) {
    /** @type {AnalyserNode[]} */
    this.analysers = [];
    this.samples = new Float32Array(SIZE);
    /** Level of each channel on the display, in dB. */
    this.levels = [-Infinity, -Infinity];
    /** The highest true peak since the last reset, in dB. */
    this.peak = -Infinity;
    this.last = 0;
    player.addEventListener("context", () => this._connect(player));
  }

  reset() {
    this.peak = -Infinity;
  }

  /**
   * Read the levels. @param {number} now milliseconds
   * @returns {boolean} whether the display is at rest
   */
  read(now) {
    const fall = (FALL * Math.min(1000, now - this.last)) / 1000;
    this.last = now;
    this.levels = this.levels.map((level, channel) => {
      const analyser = this.analysers[channel];
      if (!analyser) return -Infinity;
      analyser.getFloatTimeDomainData(this.samples);
      const found = decibels(truePeak(this.samples));
      this.peak = Math.max(this.peak, found);
      return Math.max(found, level - fall);
    });
    return this.levels.every((level) => level < FLOOR);
  }

  /** @param {Player} player */
  _connect(player) {
    const { context, graph } = player;
    if (!context || !graph) return;
    const both = context.createGain();
    both.channelCount = 2; // a mono sound is in both channels
    both.channelCountMode = "explicit";
    const splitter = context.createChannelSplitter(2);
    graph.mix.connect(both).connect(splitter);
    this.analysers = [0, 1].map((channel) => {
      const analyser = context.createAnalyser();
      analyser.fftSize = SIZE;
      splitter.connect(analyser, channel);
      return analyser;
    });
  }
}
