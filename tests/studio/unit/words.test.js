import assert from "node:assert/strict";
import { test } from "node:test";

import { FIRST_WORDS, firstState, reduce } from "../../../src/soundloom/serving/studio/js/state/actions.js";
import { branchOf, changeOf, grown, rowsOf } from "../../../src/soundloom/serving/studio/js/state/lineage.js";
import { markedPieces, promptNotes, withStart } from "../../../src/soundloom/serving/studio/js/state/prompt.js";
import { againBody, differOnlyInLoras, jobBodies, jobBody, obstacle, passesOf, recalled } from "../../../src/soundloom/serving/studio/js/state/request.js";
import { restored } from "../../../src/soundloom/serving/studio/js/state/storage.js";

const MODEL = { id: "mini", installed: true, modes: ["generate", "vary", "inpaint", "extend", "loop"], music: false, distilled: true, steps: 8, guidance: 1, sampler: "pingpong", sounds: ["rain"] };

function take(id, more = {}) {
  const { request = {}, record = {}, ...rest } = more;
  return { id, title: "", prompt: "", kind: "generate", parent: null, deleted: null, made: Number(id), tags: [], audio: { rate: 44100, seconds: 4, samples: 176400 }, record: { model: "mini", seed: 7, request: { prompt: "rain", seed: 7, ...request }, ...record }, ...rest };
}

function state(words = {}, more = {}) {
  let found = { ...firstState({}), models: [{ ...MODEL, ...more.model }], model: "mini", connection: "open", words: { ...FIRST_WORDS, ...words } };
  if (more.take) {
    found = reduce(found, { type: "takes", takes: [more.take] });
    found = reduce(found, { type: "open", take: more.take.id });
    if (more.regions) found = reduce(found, { type: "place", place: { regions: more.regions } });
  }
  return found;
}

test("a loop of bars is a new clip with that length", () => {
  const body = jobBody(state({ prompt: " rain ", bars: 2, bpm: 120, loop: true, seam: 0.2, seed: 3, count: 2 }));
  assert.deepEqual(body, { kind: "generate", model: "mini", count: 2, request: { prompt: "rain", seed: 3, bars: 2, bpm: 120, loop: true, seam: 0.2 } });
});

test("a distilled model gets no negative prompt and no guidance", () => {
  const words = { prompt: "rain", negative: "hum", guidance: 5, apg: 0.5 };
  assert.deepEqual(jobBody(state(words)).request, { prompt: "rain", seconds: 4 });
  const base = jobBody(state(words, { model: { distilled: false } })).request;
  assert.deepEqual(base, { prompt: "rain", seconds: 4, negative_prompt: "hum", guidance: { scale: 5, apg: 0.5 } });
  const music = jobBody(state({ ...words, temperature: 0.9, bars: 4 }, { model: { music: true, distilled: null } })).request;
  assert.deepEqual(music, { prompt: "rain", seconds: 4, guidance: 5, temperature: 0.9 });
});

test("regions are seconds, and less change varies them", () => {
  const body = jobBody(state({ mode: "remake", prompt: "rain", regionNoise: 0.4 }, { take: take("1"), regions: [{ start: 22050, end: 44100 }] }));
  assert.deepEqual(body.request, { prompt: "rain", regions: [[0.5, 1]], crossfade: 0.01, noise: 0.4 });
  assert.deepEqual([body.kind, body.source, body.parent], ["inpaint", "1", "1"]);
});

test("regions with the same words are one pass, others are passes in order, of one take each", () => {
  const regions = [{ start: 0, end: 44100, words: " " }, { start: 88200, end: 132300, words: "snare" }, { start: 150000, end: 160000, words: "rain " }];
  const found = state({ mode: "remake", prompt: "rain", count: 4, seed: 3 }, { take: take("1"), regions });
  assert.deepEqual(passesOf(found), [{ prompt: "rain", regions: [regions[0], regions[2]] }, { prompt: "snare", regions: [regions[1]] }]);
  const bodies = jobBodies(found);
  assert.deepEqual(bodies.map((body) => [body.count, body.source, body.request.prompt, body.request.seed, body.request.regions.length]),
    [[1, "1", "rain", 3, 2], [1, "1", "snare", 3, 1]]);
  assert.deepEqual(jobBodies(state({ mode: "remake", prompt: "rain", count: 4 }, { take: take("1"), regions: regions.slice(0, 1) }))[0].count, 4);
  assert.equal(passesOf({ ...found, words: { ...found.words, mode: "vary" } }).length, 1);
});

test("adapters that are on go along, with their noise levels if they are limited", () => {
  const loras = [{ name: "a", strength: 0.5, on: true, sigma: [0, 1] }, { name: "b", strength: 1, on: false, sigma: [0, 1] }, { name: "c", strength: 1, on: true, sigma: [0.2, 1] }];
  assert.deepEqual(jobBody(state({ loras })).loras, [{ name: "a", strength: 0.5 }, { name: "c", strength: 1, sigma: [0.2, 1] }]);
});

test("what stands in the way is named", () => {
  assert.equal(obstacle(state()), null);
  assert.equal(obstacle(state({ prompt: " " })), "prompt");
  assert.equal(obstacle(state({ mode: "edit" })), "mode");
  assert.equal(obstacle(state({ mode: "vary" })), "source");
  assert.equal(obstacle(state({ mode: "remake" }, { take: take("1") })), "regions");
  assert.equal(obstacle(state({ mode: "extend", before: 0, after: 0 }, { take: take("1") })), "extend");
  assert.equal(obstacle(state({}, { model: { installed: false } })), "model");
  assert.equal(obstacle({ ...state({ bars: 2 }), reading: { bpm: null } }), "tempo");
  assert.equal(obstacle({ ...state({ bars: 2 }), reading: { bpm: 120 } }), null);
});

test("the same again has other seeds and the same source and adapters", () => {
  const made = take("2", { kind: "vary", parent: "1", request: { noise: 0.5, loras: { uses: [{ name: "a", strength: 1, sha256: "x" }], combine: "sum" } } });
  const body = againBody(made, 4);
  assert.deepEqual(body, { kind: "vary", model: "mini", count: 4, request: { prompt: "rain", noise: 0.5 }, source: "1", parent: "1", loras: [{ name: "a", strength: 1, sha256: "x" }], lora_combine: "sum" });
  assert.equal(againBody(take("3", { kind: "upload", record: { request: undefined, model: undefined } }), 1), null);
});

test("words come back from a take, without what is the model's own", () => {
  const made = take("2", { kind: "inpaint", request: { regions: [[0.5, 1]], noise: 0.4, steps: 8, sampler: "euler", guidance: {} } });
  const { words, regions } = recalled(made, MODEL);
  assert.deepEqual([words.mode, words.prompt, words.seed, words.steps, words.sampler, words.guidance, words.regionNoise], ["remake", "rain", 7, null, "euler", null, 0.4]);
  assert.deepEqual(regions, [{ start: 22050, end: 44100 }]);
});

test("two takes that differ in adapters only are twins", () => {
  const without = take("1");
  const made = take("2", { request: { loras: { uses: [{ name: "a" }] } } });
  assert.equal(differOnlyInLoras(made, without), true);
  assert.equal(differOnlyInLoras(made, take("3", { request: { seed: 8 } })), false);
});

test("unknown words are marked without their punctuation", () => {
  assert.deepEqual(markedPieces("a (violin), rain", ["violin"]), [{ text: "a (", unknown: false }, { text: "violin", unknown: true }, { text: "), rain", unknown: false }]);
  assert.deepEqual(markedPieces("rain", []), [{ text: "rain", unknown: false }]);
});

test("notes say what a model does not read or understand", () => {
  const reading = { tokens: 3, limit: 32, unread: "", unknown: ["violin"], names_sound: false, bpm: null, key: null, understood: null, trained: true, problem: null };
  assert.deepEqual(promptNotes(reading, "violin", MODEL, "make").map((note) => note.kind), ["unknown", "no-sound"]);
  const large = { ...MODEL, sounds: [] };
  assert.deepEqual(promptNotes({ ...reading, unknown: [], names_sound: true }, "дождь", large, "make").map((note) => note.kind), ["english"]);
});

test("the type of track is exchanged, or taken away", () => {
  const starts = ["TrackType: Music", "TrackType: SFX"];
  assert.equal(withStart("rain", starts, starts[0]), "TrackType: Music, rain");
  assert.equal(withStart("TrackType: Music, rain", starts, starts[1]), "TrackType: SFX, rain");
  assert.equal(withStart("TrackType: SFX, rain", starts, starts[1]), "rain");
});

test("a family is listed newest first, and only branches are indented", () => {
  const family = [take("1"), take("2", { parent: "1" }), take("3", { parent: "2" }), take("4", { parent: "2" }), take("5", { parent: "gone" })];
  assert.deepEqual(rowsOf(family).map((row) => [row.take.id, row.depth, row.root]), [["5", 0, true], ["4", 1, false], ["3", 1, false], ["2", 0, false], ["1", 0, true]]);
  assert.deepEqual(branchOf(["2"], family), ["2", "3", "4"]);
  assert.deepEqual(changeOf(take("6", { kind: "extend", audio: { seconds: 6 } }), take("1")), { kind: "extend", amount: 2 });
});

test("a family grows by what is made from its takes", () => {
  const takes = { 2: take("2", { parent: "1", title: "new" }), 3: take("3", { parent: "2" }), 9: take("9") };
  const found = grown([take("1"), take("2", { parent: "1" })], takes);
  assert.deepEqual(found.map((one) => [one.id, one.title]), [["1", ""], ["2", "new"], ["3", ""]]);
});

test("kept words of another version do no harm", () => {
  const found = restored(state(), { words: { prompt: "bell", count: "many", unknown: 1, seed: 5 }, model: "mini" });
  assert.deepEqual([found.words.prompt, found.words.count, found.words.seed, "unknown" in found.words], ["bell", 4, 5, false]);
});
