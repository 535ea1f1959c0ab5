import assert from "node:assert/strict";
import { test } from "node:test";

import { meant, withKey } from "../../../src/soundloom/serving/studio/js/state/key-map.js";

test("keys mean themselves until they are changed", () => {
  assert.deepEqual(["l", "L", "=", "Enter", "?"].map((key) => meant({}, key)), ["l", "l", "+", "Enter", "?"]);
  const { map } = withKey({}, "l", "q");
  assert.deepEqual(map, { l: "q" });
  assert.deepEqual(["q", "Q", "l", "s"].map((key) => meant(map, key)), ["l", "l", "", "s"]);
});

test("a key that is taken is refused, and one that was left is free", () => {
  assert.deepEqual(withKey({}, "l", "s"), { map: {}, taken: "s" });
  assert.deepEqual(withKey({}, "l", "="), { map: {}, taken: "+" });
  assert.deepEqual(withKey({ l: "q" }, "s", "q"), { map: { l: "q" }, taken: "l" });
  assert.deepEqual(withKey({ l: "q" }, "s", "l"), { map: { l: "q", s: "l" }, taken: "" });
  assert.deepEqual(withKey({ l: "q", s: "l" }, "l", "l"), { map: { l: "q", s: "l" }, taken: "s" });
  assert.deepEqual(withKey({ l: "q" }, "l", "l"), { map: {}, taken: "" });
});
