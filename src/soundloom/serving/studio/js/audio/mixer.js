/**
 * Two sounds, of which one plays, or what differs. A switch is a fade. Equal sounds stay exact to the last bit meanwhile:
 * the sum is one of them and a share of their difference, never two rounded shares of both.
 */

/** @typedef {"a" | "b"} Side */
/** @typedef {{a: number, b: number, difference: number, levelA: number, levelB: number}} Mix */

const NAMES = /** @type {const} */ (["a", "b", "difference", "levelA", "levelB"]);

/**
 * What a side, or the difference at its own level, needs.
 * @param {Side} side
 * @param {boolean} difference
 * @param {Record<Side, number>} levels
 * @returns {Mix}
 */
export function mixOf(side, difference, levels) {
  if (difference) return { a: 0, b: 0, difference: 1, levelA: 1, levelB: 1 };
  return { a: Number(side === "a"), b: Number(side === "b"), difference: 0, levelA: levels.a, levelB: levels.b };
}

export class Mixer {
  /**
   * @param {BaseAudioContext} context
   * @param {AudioNode} output
   * @param {Mix} mix
   */
  constructor(context, output, mix) {
    const gain = (/** @type {number} */ value, /** @type {AudioNode[]} */ ...to) => {
      const node = context.createGain();
      node.gain.value = value;
      for (const one of to) node.connect(one);
      return node;
    };
    const difference = gain(mix.difference, output);
    const [a, b] = [gain(mix.a, output), gain(mix.b, output)];
    /** Where the sounds go in. */
    this.inputs = { a: gain(mix.levelA, a, difference), b: gain(mix.levelB, b, gain(-1, difference)) };
    /** @type {Record<keyof Mix, AudioParam>} */
    this.params = { a: a.gain, b: b.gain, difference: difference.gain, levelA: this.inputs.a.gain, levelB: this.inputs.b.gain };
    this.mix = mix;
  }

  /** Change at once: nothing plays. @param {Mix} mix @param {number} now */
  set(mix, now) {
    for (const name of NAMES) this.params[name].cancelScheduledValues(0).setValueAtTime(mix[name], now);
    this.mix = mix;
  }

  /**
   * @param {Mix} mix
   * @param {number} from
   * @param {number} to seconds
   * @returns {boolean} whether anything changes
   */
  fade(mix, from, to) {
    const before = this.mix;
    const changed = NAMES.filter((name) => mix[name] !== before[name]);
    this.mix = mix;
    const crosses = changed.includes("a") && changed.includes("b") && !mix.difference && !before.difference;
    for (const name of changed) {
      if (crosses && (name === "a" || name === "b")) this.params[name].setValueAtTime(mix[name], to);
      else this.params[name].setValueAtTime(before[name], from).linearRampToValueAtTime(mix[name], to);
    }
    if (crosses) this.params.difference.setValueAtTime(0, from).linearRampToValueAtTime(mix.a - mix.b, to).setValueAtTime(0, to);
    return changed.length > 0;
  }
}
