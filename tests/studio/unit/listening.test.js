import assert from "node:assert/strict";
import { test } from "node:test";
import { decibels, truePeak } from "../../../src/soundloom/serving/studio/js/audio/meter.js";
import { byChance, loopOf, offsetsOf, sideOf, sidesOf } from "../../../src/soundloom/serving/studio/js/listening.js";
import { firstState, reduce } from "../../../src/soundloom/serving/studio/js/state/actions.js";

/** @param {any[]} actions */
const state = (...actions) => actions.reduce(reduce, firstState(/** @type {any} */ ({})));
const opened = [{ type: "open", take: "before" }, { type: "open", take: "now" }];
const loud = (/** @type {string} */ take, /** @type {number | null} */ loudness) => ({ type: "measure", take, measure: { loudness } });
const listen = (/** @type {any} */ listening) => ({ type: "listening", listening });

test("A is the take before; while a new take plays, A is the one in the editor", () => {
  assert.deepEqual(sidesOf(state(...opened)), { a: "before", b: "now" });
  assert.deepEqual(sidesOf(state(...opened, listen({ preview: "new" }))), { a: "now", b: "new" });
  assert.deepEqual(sidesOf(state(listen({ preview: "new" }))), { a: null, b: "new" });
});

test("the louder side is turned down to the other one, and nothing is turned up", () => {
  const both = state(...opened, loud("before", -14), loud("now", -17.5));
  assert.deepEqual(offsetsOf(both), { a: -3.5, b: 0 });
  assert.deepEqual(offsetsOf(reduce(both, /** @type {any} */ (listen({ matched: false })))), { a: 0, b: 0 });
  assert.deepEqual(offsetsOf(reduce(both, /** @type {any} */ (listen({ difference: true })))), { a: 0, b: 0 });
});

test("silence and takes that are not measured yet are left alone", () => {
  assert.deepEqual(offsetsOf(state(...opened, loud("before", -14))), { a: 0, b: 0 });
  assert.deepEqual(offsetsOf(state(...opened, loud("before", -14), loud("now", null))), { a: 0, b: 0 });
  assert.deepEqual(offsetsOf(state(...opened, loud("before", -14), loud("now", -14.05))), { a: 0, b: 0 }, "nobody hears it");
});

test("new takes are as loud as the quietest of them", () => {
  const items = ["x", "y"].map((take, number) => ({ number, take }));
  const found = state({ type: "job", job: { id: "j", items } }, { type: "candidates", candidates: { job: "j", focus: 0, before: null } },
    listen({ preview: "x" }), loud("x", -12), loud("y", -15));
  assert.equal(offsetsOf(found).b, -3);
});

test("a loop repeats the brace, else the selection, else all", () => {
  const selected = [...opened, { type: "place", place: { selection: { start: 5, end: 9 } } }, listen({ loop: true })];
  assert.deepEqual(loopOf(state(...selected, listen({ brace: { start: 1, end: 3 } }))), { start: 1, end: 3 });
  assert.deepEqual(loopOf(state(...selected)), { start: 5, end: 9 });
  assert.deepEqual(loopOf(state(...opened, listen({ loop: true }))), { start: 0, end: Infinity });
  assert.equal(loopOf(state(...opened)), null);
});

test("a blind test decides which side plays", () => {
  assert.equal(sideOf(state({ type: "blind", blind: { x: "a", hearing: "x", answers: [] } })), "a");
  assert.equal(sideOf(state({ type: "blind", blind: { x: "a", hearing: "b", answers: [] } })), "b");
  assert.equal(byChance(0, 5), 1);
  assert.equal(byChance(5, 5), 1 / 32);
  assert.ok(Math.abs(byChance(7, 10) - 0.171875) < 1e-12);
});

test("true peaks lie between the samples", () => {
  const sine = (/** @type {number} */ frequency, /** @type {number} */ phase) =>
    Float32Array.from({ length: 2048 }, (_, at) => Math.sin(2 * Math.PI * frequency * at + phase));
  assert.ok(Math.abs(decibels(truePeak(sine(0.25, Math.PI / 4)))) < 0.15, "its samples are at -3 dB");
  for (const frequency of [0.01, 0.1, 0.3, 0.45]) assert.ok(Math.abs(decibels(truePeak(sine(frequency, 1)))) < 0.15);
  assert.equal(truePeak(new Float32Array(100)), 0);
});
