/** Tempo and beats of takes: typed or tapped, asked for, or measured, in this order. Pure. */

import { place } from "./actions.js";

/** @typedef {import("../types.js").State} State */
/** @typedef {import("../types.js").Take} Take */
/** @typedef {import("../types.js").Grid} Grid */

export const LOWEST_BPM = 20;
export const HIGHEST_BPM = 400;
const IN_TIME = ["inpaint", "extend", "mix", "loop"]; // kinds that keep samples, and with them the beats

/**
 * The tempo that was asked for: as a number, or by words such as "120 BPM".
 * @param {Take} take
 * @returns {number | null}
 */
export function askedTempo(take) {
  const { bpm, prompt } = take.record.request ?? {};
  const found = Number(bpm ?? /(\d{2,3}(?:\.\d+)?)\s*bpm\b/i.exec(prompt ?? take.prompt)?.[1]);
  return found >= LOWEST_BPM && found <= HIGHEST_BPM ? found : null;
}

/**
 * What a take was made from, if it has the beats of that: words of a region, such as "rain", do not change them.
 * @param {State} state
 * @param {Take} take
 */
function inTimeWith(state, take) {
  const follows = IN_TIME.includes(take.kind) || (take.kind !== "generate" && !askedTempo(take));
  return follows && take.parent && tempoOf(state, take.parent) ? take.parent : null;
}

/**
 * @param {State} state
 * @param {string | null} id
 * @returns {{bpm: number, from: "typed" | "asked" | "measured"} | null} null: it has no tempo, as far as is known
 */
export function tempoOf(state, id) {
  const take = id ? state.takes[id] : null;
  if (!id || !take) return null;
  const typed = state.grids[id]?.bpm;
  if (typed) return { bpm: typed, from: "typed" };
  const source = inTimeWith(state, take);
  if (source) return tempoOf(state, source);
  const asked = askedTempo(take);
  if (asked) return { bpm: asked, from: "asked" };
  const measured = state.measures[id]?.tempo;
  return measured ? { bpm: measured, from: "measured" } : null;
}

/**
 * The beats of a take, of the one in the editor if none is named; null without a tempo.
 * @param {State} state
 * @param {string | null} [id]
 * @returns {Grid | null}
 */
export function gridOf(state, id = place(state).take) {
  const tempo = tempoOf(state, id);
  if (!id || !tempo) return null;
  const { audio, record } = state.takes[id];
  const typed = state.grids[id];
  const source = inTimeWith(state, state.takes[id]);
  const before = source ? gridOf(state, source) : null;
  const beats = typed?.beats ?? before?.beats ?? 4;
  const bar = (beats * 60 * audio.rate) / tempo.bpm;
  if (before) {
    const first = before.first + Math.round((record.request?.offset ?? 0) * audio.rate);
    return { bpm: tempo.bpm, first: typed?.first ?? Math.round(first - bar * Math.floor(first / bar)), beats };
  }
  const onset = tempo.from === "measured" ? (state.measures[id]?.onsets[0] ?? 0) : 0;
  return { bpm: tempo.bpm, first: typed?.first ?? Math.round(onset * audio.rate), beats };
}

/**
 * The sample of a beat, counted from the first one; exact however far it is.
 * @param {Grid} grid
 * @param {number} rate
 * @param {number} beat
 */
export function beatSample(grid, rate, beat) {
  return grid.first + Math.round((beat * 60 * rate) / grid.bpm);
}

/**
 * The last beat at or before a sample.
 * @param {Grid} grid
 * @param {number} rate
 * @param {number} sample
 */
export function beatAt(grid, rate, sample) {
  const beat = Math.floor(((sample - grid.first) * grid.bpm) / (60 * rate));
  return beatSample(grid, rate, beat + 1) <= sample ? beat + 1 : beat;
}

/**
 * Bar, beat and sixteenth of a sample, as "1.3.3"; before the first bar they count down from 0.
 * @param {Grid} grid
 * @param {number} rate
 * @param {number} sample
 */
export function barOf(grid, rate, sample) {
  const beat = beatAt(grid, rate, sample);
  const start = beatSample(grid, rate, beat);
  const sixteenth = Math.floor((4 * (sample - start)) / (beatSample(grid, rate, beat + 1) - start));
  const bar = Math.floor(beat / grid.beats);
  return `${bar + 1}.${beat - bar * grid.beats + 1}.${sixteenth + 1}`;
}

/**
 * The tempo of taps, from their times in milliseconds; null for fewer than two. A pause of two seconds begins anew.
 * @param {number[]} taps
 */
export function tappedTempo(taps) {
  const from = taps.reduce((first, time, index) => (index && time - taps[index - 1] > 2000 ? index : first), 0);
  const used = taps.slice(from).slice(-9);
  if (used.length < 2) return null;
  const bpm = (60_000 * (used.length - 1)) / (used[used.length - 1] - used[0]);
  return bpm >= LOWEST_BPM && bpm <= HIGHEST_BPM ? Math.round(bpm * 10) / 10 : null;
}
