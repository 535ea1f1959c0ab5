import assert from "node:assert/strict";
import test from "node:test";
import { allRows, choose, PAGE, pagesOf, rowAt, rowsInView } from "../../../src/soundloom/serving/studio/js/state/rows.js";

test("only rows near the view exist", () => {
  assert.deepEqual(rowsInView(0, 480, 48, 10_000, 2), { first: 0, last: 12 });
  assert.deepEqual(rowsInView(48_000, 480, 48, 10_000, 2), { first: 998, last: 1012 });
  assert.deepEqual(rowsInView(-500, 400, 48, 10_000, 2), { first: 0, last: 0 });
  assert.deepEqual(rowsInView(1e9, 480, 48, 10, 2), { first: 10, last: 10 });
});

test("pages are those of the rows", () => {
  assert.deepEqual(pagesOf(0, 0), []);
  assert.deepEqual(pagesOf(PAGE - 1, PAGE + 1), [0, 1]);
  assert.equal(rowAt({ 1: ["a", "b"] }, PAGE + 1), "b");
  assert.equal(rowAt({ 1: ["a", "b"] }, 0), undefined);
  assert.equal(allRows({ 0: ["a"] }, 2), null);
  assert.deepEqual(allRows({ 0: ["a", "b"] }, 2), ["a", "b"]);
});

test("Shift chooses all from the last row to this one, in both directions", () => {
  const ids = ["a", "b", "c", "d"];
  assert.deepEqual([...choose(new Set(["c"]), "a", true, { ids, anchor: "c" })], ["c", "a", "b"]);
  assert.deepEqual([...choose(new Set(ids), "c", false, { ids, anchor: "b" })], ["a", "d"]);
  assert.deepEqual([...choose(new Set(), "a", true)], ["a"]);
});
