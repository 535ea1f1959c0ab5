import assert from "node:assert/strict";
import { test } from "node:test";
import { change, current, plant, redo, undo } from "../../../src/soundloom/serving/studio/js/state/history.js";

test("ten changes are undone and done again", () => {
  let tree = plant(0);
  for (let value = 1; value <= 10; value++) tree = change(tree, value);
  for (let value = 9; value >= 0; value--) {
    tree = undo(tree);
    assert.equal(current(tree), value);
  }
  assert.equal(undo(tree), tree);
  for (let value = 1; value <= 10; value++) tree = redo(tree);
  assert.equal(current(tree), 10);
  assert.equal(redo(tree), tree);
});

test("a change after an undo begins a branch, and the other one stays", () => {
  const first = change(plant("start"), "left");
  const tree = change(undo(first), "right");
  assert.deepEqual(tree.nodes.map((node) => node.value), ["start", "left", "right"]);
  assert.equal(current(redo(undo(tree))), "right");
});

test("steps of one gesture are one change", () => {
  const tree = change(change(change(plant(0), 1), 2, true), 3, true);
  assert.equal(current(tree), 3);
  assert.equal(current(undo(tree)), 0);
});
