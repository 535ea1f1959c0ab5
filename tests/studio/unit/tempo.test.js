import assert from "node:assert/strict";
import { test } from "node:test";
import { askedTempo, barOf, beatAt, beatSample, gridOf, tappedTempo, tempoOf } from "../../../src/soundloom/serving/studio/js/state/tempo.js";
import { firstState, reduce } from "../../../src/soundloom/serving/studio/js/state/actions.js";

const take = (/** @type {any} */ request, prompt = request.prompt ?? "") =>
  /** @type {any} */ ({ id: "t", prompt, audio: { rate: 44_100, samples: 176_400 }, record: { request } });
const measure = (/** @type {any} */ tempo) => ({ tempo, tempo_confidence: 0.9, onsets: [0.1] });
const state = (/** @type {any} */ one, /** @type {any} */ measured) => {
  let found = reduce(firstState(/** @type {any} */ ({})), { type: "takes", takes: [one] });
  found = reduce(found, { type: "open", take: "t" });
  return measured === undefined ? found : reduce(found, { type: "measure", take: "t", measure: measured });
};

test("a tempo is asked for as a number or in words", () => {
  assert.equal(askedTempo(take({ bpm: 90, prompt: "a loop, 120 BPM" })), 90);
  assert.equal(askedTempo(take({ prompt: "kick drum loop, 120 BPM" })), 120);
  assert.equal(askedTempo(take({ prompt: "87.5bpm" })), 87.5);
  assert.equal(askedTempo(take({ prompt: "rain" })), null);
  assert.equal(askedTempo(take({ bpm: 7 })), null);
});

test("what is typed goes before what was asked for, and that before what was measured", () => {
  const asked = state(take({ prompt: "loop, 120 BPM" }), measure(119.8));
  assert.deepEqual(tempoOf(asked, "t"), { bpm: 120, from: "asked" });
  const typed = reduce(asked, { type: "grid", take: "t", grid: { bpm: 60 } });
  assert.deepEqual(tempoOf(typed, "t"), { bpm: 60, from: "typed" });
  const measured = state(take({ prompt: "a drum" }), measure(119.8));
  assert.deepEqual(tempoOf(measured, "t"), { bpm: 119.8, from: "measured" });
  assert.equal(gridOf(measured)?.first, 4410, "the first onset");
});

test("an edit keeps the beats of what it was made from, whatever the words of its region", () => {
  const from = (/** @type {string} */ kind, /** @type {any} */ request) => {
    const asked = state(take({ prompt: "loop, 120 BPM" }), measure(117.4));
    const made = { ...take(request), id: "u", kind, parent: "t" };
    return reduce(reduce(asked, { type: "takes", takes: [/** @type {any} */ (made)] }), { type: "measure", take: "u", measure: /** @type {any} */ (measure(117.4)) });
  };
  const remade = from("inpaint", { prompt: "rain" });
  assert.deepEqual(gridOf(remade, "u"), { bpm: 120, first: 0, beats: 4 });
  assert.equal(tempoOf(from("inpaint", { prompt: "snare, 90 BPM" }), "u")?.bpm, 120);
  assert.equal(tempoOf(from("vary", { prompt: "snare, 90 BPM" }), "u")?.bpm, 90);
  assert.deepEqual(tempoOf(from("generate", { prompt: "rain" }), "u"), { bpm: 117.4, from: "measured" });
  const typed = reduce(remade, { type: "grid", take: "t", grid: { first: 441, beats: 3 } });
  assert.deepEqual(gridOf(typed, "u"), { bpm: 120, first: 441, beats: 3 });
  const own = reduce(typed, { type: "grid", take: "u", grid: { bpm: 60, first: 7 } });
  assert.deepEqual(gridOf(own, "u"), { bpm: 60, first: 7, beats: 3 });
  assert.equal(gridOf(from("extend", { prompt: "rain", offset: 0.3 }), "u")?.first, 13_230, "bar 1 moves with the sound");
  assert.equal(gridOf(from("extend", { prompt: "rain", offset: 2.3 }), "u")?.first, 13_230, "by whole bars, not further");
});

test("rain has no tempo and no beats", () => {
  const rain = state(take({ prompt: "rain" }), measure(null));
  assert.equal(tempoOf(rain, "t"), null);
  assert.equal(gridOf(rain), null);
});

test("beats at 120 BPM are multiples of 22,050 samples, and any tempo stays exact", () => {
  const grid = { bpm: 120, first: 0, beats: 4 };
  for (let beat = 0; beat < 999; beat++) assert.equal(beatSample(grid, 44_100, beat), beat * 22_050);
  const odd = { bpm: 127.3, first: 17, beats: 3 };
  for (let beat = 0; beat < 999; beat++) {
    const sample = beatSample(odd, 44_100, beat);
    assert.equal(beatAt(odd, 44_100, sample), beat);
    assert.equal(beatAt(odd, 44_100, sample - 1), beat - 1);
  }
});

test("bars are counted from one", () => {
  const grid = { bpm: 120, first: 0, beats: 4 };
  assert.equal(barOf(grid, 44_100, 0), "1.1.1");
  assert.equal(barOf(grid, 44_100, 55_125), "1.3.3");
  assert.equal(barOf(grid, 44_100, 88_200), "2.1.1");
  assert.equal(barOf({ ...grid, first: 88_200 }, 44_100, 0), "0.1.1");
});

test("taps give their mean tempo, and a pause begins anew", () => {
  assert.equal(tappedTempo([0]), null);
  assert.equal(tappedTempo([0, 500, 1010, 1500]), 120);
  assert.equal(tappedTempo([0, 300, 9000, 9600, 10_200]), 100);
});
