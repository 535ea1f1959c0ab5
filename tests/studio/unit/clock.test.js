import assert from "node:assert/strict";
import { test } from "node:test";
import { beatsBetween, lineAt, positionAt, wholeSample } from "../../../src/soundloom/serving/studio/js/audio/clock.js";

const RATE = 44_100;
const grid = { bpm: 120, first: 0, beats: 4 };
const line = { began: 1, from: 0, step: RATE, end: 4 * RATE, loop: null };

test("positions are whole samples, and wait for the beginning", () => {
  assert.equal(positionAt(line, 0), 0);
  assert.equal(positionAt(line, 1 + 22_050 / RATE), 22_050);
  assert.equal(positionAt(line, 9), line.end);
});

test("a loop goes back to its start, however often", () => {
  const loop = { start: 11_025, end: 33_075 };
  const looping = { ...line, loop };
  for (let turn = 0; turn < 20; turn++) {
    assert.equal(positionAt(looping, 1 + (33_075 + turn * 22_050 + 7) / RATE), 11_025 + 7);
  }
});

test("half speed passes half the samples", () => {
  assert.equal(positionAt({ ...line, step: RATE / 2 }, 2), 22_050);
});

test("a jump counts from the time at which it is heard", () => {
  const jumped = { ...line, began: 2, from: 100 };
  assert.equal(lineAt([line, jumped], 1.9), line);
  assert.equal(lineAt([line, jumped], 2), jumped);
  assert.equal(lineAt([line, jumped], 0), line);
});

test("beats come at exact times, and the first of a bar is accented", () => {
  const beats = beatsBetween(line, grid, RATE, 1, 3.75);
  assert.deepEqual(beats.map((beat) => beat.time), [1, 1.5, 2, 2.5, 3, 3.5]);
  assert.deepEqual(beats.map((beat) => beat.accent), [true, false, false, false, true, false]);
});

test("beats of a loop are those of each turn, without doubles where two stretches meet", () => {
  const looping = { ...line, from: 22_050, loop: { start: 22_050, end: 66_150 } }; // beats 2 and 3 of the first bar
  const beats = beatsBetween(looping, grid, RATE, 1, 4);
  assert.deepEqual(beats.map((beat) => beat.time), [1, 1.5, 2, 2.5, 3, 3.5]);
  const split = [...beatsBetween(looping, grid, RATE, 1, 2), ...beatsBetween(looping, grid, RATE, 2, 4)];
  assert.deepEqual(split, beats);
});

test("times are rounded up to whole samples", () => {
  assert.equal(wholeSample(0.02, 11_025), 221 / 11_025);
  assert.equal(wholeSample(882 / RATE, RATE), 882 / RATE);
});
