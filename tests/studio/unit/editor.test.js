import assert from "node:assert/strict";
import { test } from "node:test";
import { parsed, parsedRange, snapped, step, toSample, toX, whole, written, zoomed } from "../../../src/soundloom/serving/studio/js/view/grid.js";
import { changed, fadeOf, inverted, letter, marked, tidy, withEdge } from "../../../src/soundloom/serving/studio/js/view/regions.js";
import { columns } from "../../../src/soundloom/serving/studio/js/view/peaks.js";
import { sampleColumns } from "../../../src/soundloom/serving/studio/js/view/wave.js";

const RATE = 44100;
const GRID = { bpm: 120, first: 0, beats: 4 };
const span = (start, end) => ({ start, end });

test("regions are in order, and overlap is impossible", () => {
  assert.deepEqual(tidy([span(50, 70), span(10, 20), span(60, 200), span(20, 30), span(5, 5)], 100), [span(10, 30), span(50, 100)]);
  assert.deepEqual(changed([span(0, 10), span(20, 30)], 0, span(5, 25), 100), [span(5, 30)]);
  assert.deepEqual(changed([span(0, 10), span(20, 30)], 0, null, 100), [span(20, 30)]);
});

test("regions keep words of their own when they move, and the first ones when they merge", () => {
  const own = { ...span(50, 70), words: "snare" };
  assert.deepEqual(changed([span(0, 10), own], 1, withEdge(own, "start", 40, 100), 100)[1], { ...own, start: 40 });
  assert.deepEqual(withEdge(own, "start", 20, 100, true), { ...own, start: 20, end: 40 });
  assert.deepEqual(tidy([span(40, 55), own, { ...span(70, 80), words: "rain" }], 100), [{ ...span(40, 80), words: "snare" }]);
});

test("inverted regions are what lies between", () => {
  assert.deepEqual(inverted([span(0, 10), span(20, 30)], 50), [span(10, 20), span(30, 50)]);
  assert.deepEqual(inverted(inverted([span(3, 4)], 9), 9), [span(3, 4)]);
  assert.deepEqual(inverted([], 9), [span(0, 9)]);
});

test("edges stay within the take, and do not pass each other", () => {
  assert.deepEqual(withEdge(span(10, 20), "start", 30, 100), span(19, 20));
  assert.deepEqual(withEdge(span(10, 20), "end", 300, 100), span(10, 100));
  assert.deepEqual(withEdge(span(10, 20), "end", 5, 100), span(10, 11));
  assert.deepEqual(withEdge(span(10, 20), "end", 300, 100, true), span(90, 100));
  assert.deepEqual(withEdge(span(10, 20), "start", -5, 100, true), span(0, 10));
});

test("[ and ] make a region, or move the edge of the one they are in", () => {
  const first = marked([], null, "start", 100, 1000);
  assert.deepEqual(first, { regions: [], waiting: 100 });
  const second = marked(first.regions, first.waiting, "end", 200, 1000);
  assert.deepEqual(second, { regions: [span(100, 200)], waiting: null });
  assert.deepEqual(marked(second.regions, null, "start", 150, 1000).regions, [span(150, 200)]);
  assert.deepEqual(marked(second.regions, null, "end", 400, 1000).regions, [span(100, 400)]);
  assert.deepEqual(marked([], null, "end", 400, 1000), { regions: [], waiting: null });
});

test("letters and crossfades", () => {
  assert.deepEqual([0, 25, 26, 31].map(letter), ["A", "Z", "AA", "AF"]);
  assert.equal(fadeOf(span(0, 1000), 441), 250);
  assert.equal(fadeOf(span(0, 44100), 441), 441);
});

test("a beat at 120 BPM is a multiple of 22,050 samples", () => {
  const around = { mode: "beat", grid: GRID, rate: RATE, samples: 180_000, reach: 500, sound: null, onsets: [] };
  for (const at of [0, 12_000, 30_000, 100_123, 170_000]) assert.equal(snapped(at, around) % 22_050, 0);
  assert.equal(snapped(179_900, around), 180_000); // the end of the take
  assert.equal(snapped(50_000, { ...around, mode: "bar" }), 88_200);
  assert.equal(snapped(50_000.4, { ...around, mode: "off" }), 50_000);
  assert.equal(snapped(50_000, { ...around, grid: null }), 50_000);
});

test("positions snap to zero crossings and onsets that are near", () => {
  const channel = Float32Array.from({ length: 1000 }, (_, index) => (index < 510 ? -0.5 : 0.5));
  const sound = { rate: RATE, channels: [channel], samples: 1000 };
  const around = { mode: "zero", grid: null, rate: RATE, samples: 1000, reach: 20, sound, onsets: [0.01] };
  assert.equal(snapped(500, around), 510);
  assert.equal(snapped(300, around), 300);
  assert.equal(snapped(450, { ...around, mode: "onset" }), 441);
  assert.equal(snapped(700, { ...around, mode: "onset" }), 700);
});

test("positions are written and read in seconds, bars and samples", () => {
  for (const sample of [0, 1, 44_100, 66_150, 123_457]) {
    assert.equal(parsed(written(sample, "seconds", RATE, GRID), "seconds", RATE, GRID, 1e6), sample);
    assert.equal(parsed(written(sample, "samples", RATE, GRID), "samples", RATE, GRID, 1e6), sample);
  }
  assert.deepEqual([0, 22_050, 88_200, 99_225].map((at) => written(at, "bars", RATE, GRID)), ["1", "1.2", "2", "2.1.50"]);
  assert.equal(parsed("2.1.50", "bars", RATE, GRID, 1e6), 99_225);
  assert.equal(parsed("1:02.5", "seconds", RATE, GRID, 1e7), 62.5 * RATE);
  assert.equal(parsed("250 ms", "bars", RATE, GRID, 1e6), 11_025);
  for (const text of ["", "x", "-1", "1.9"]) assert.equal(parsed(text, "bars", RATE, GRID, 1e6), null);
});

test("ranges are read as they are typed", () => {
  const read = (text, unit = "seconds") => parsedRange(text, unit, RATE, GRID, 176_400);
  assert.deepEqual(read("1.0–1.5"), span(44_100, 66_150));
  assert.deepEqual(read("1 - 1.5 s"), span(44_100, 66_150));
  assert.deepEqual(read("44100–66150s"), span(44_100, 66_150));
  assert.deepEqual(read("100–200 samples"), span(100, 200));
  assert.deepEqual(read("1.3–2", "bars"), span(44_100, 88_200));
  for (const text of ["", "1", "2–1", "a–b"]) assert.equal(read(text), null);
});

test("zoom keeps the sample at its pixel, and ends at the whole take", () => {
  const all = whole(0, 176_400, 800, 30);
  assert.ok(Math.abs(toX(all, 0) - 30) < 1e-9 && Math.abs(toX(all, 176_400) - 770) < 1e-9);
  const near = { ...zoomed(all, all, 8, 400), width: 800 };
  assert.ok(Math.abs(toSample(near, 400) - toSample(all, 400)) < 1e-6);
  assert.equal(zoomed(near, all, 1 / 8.1, 400), null);
});

test("lines of the ruler keep their distance", () => {
  assert.equal(step(100, 64, [0.1, 0.5, 1, 2]), 1);
  assert.equal(step(1, 64, [0.1, 0.5, 1, 2]), 64);
});

test("columns of samples hold the lowest and the highest", () => {
  const data = Float32Array.from([0, 0.5, -0.25, 1, -1, 0, 0, 0]);
  const out = new Float32Array(4);
  sampleColumns(data, 0, 2, out);
  assert.deepEqual([...out], [-0.25, 0.5, -1, 1]);
});

test("a picture of few samples fills its width", () => {
  const data = Int16Array.from([-32767, 32767, 0, 32767]);
  const peaks = { channels: 1, samples: 512, levels: [{ span: 256, count: 2, data }] };
  const out = new Float32Array(16);
  columns(peaks, 0, 0, 512 / 8, out);
  assert.deepEqual([...out], [-1, 1, -1, 1, -1, 1, -1, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
});
