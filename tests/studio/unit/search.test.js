import assert from "node:assert/strict";
import test from "node:test";
import { readSearch, searchQuery, tagWord, toggleWord } from "../../../src/soundloom/serving/studio/js/state/search.js";

const known = (query) => Object.fromEntries(Object.entries(readSearch(query)).filter(([, value]) => value !== null && value.length !== 0));

test("words with a meaning are told from plain ones", () => {
  assert.deepEqual(known('kick tag:drums tag:"hi hat" ★ model:mini len>2'), {
    text: "kick", tag: ["drums", "hi hat"], model: "mini", min_seconds: 2, favorite: true,
  });
  assert.deepEqual(known("kind:remade kind:loop seed:7 len<4s bpm:120"), {
    kind: ["inpaint", "loop"], seed: 7, max_seconds: 4, bpm: 120,
  });
});

test("a length that is named is found nearby", () => {
  const { min_seconds, max_seconds } = readSearch("len:4");
  assert.ok(min_seconds < 3.98 && max_seconds > 4.02);
});

test("what is not understood is searched for as it is", () => {
  assert.equal(readSearch("seed:x ratio:2 a:b").text, "seed:x ratio:2 a:b");
  assert.equal(readSearch("tag: kick").text, "tag: kick");
});

test("the parameters name only what was asked for", () => {
  const query = searchQuery({ query: "rain tag:wet", order: "title", deleted: false });
  assert.equal(String(query), "order=title&text=rain&tag=wet");
  assert.equal(searchQuery({ query: "", order: "newest", deleted: true }).get("deleted"), "true");
});

test("a word is added once, and taken away again", () => {
  assert.equal(toggleWord("kick", "★"), "kick ★");
  assert.equal(toggleWord("kick ★", "★"), "kick");
  assert.equal(toggleWord('tag:"hi hat" kick', tagWord("hi hat")), "kick");
});
