import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../../../src/soundloom/serving/studio/js/state/store.js";

const counter = () => new Store((state, /** @type {any} */ action) => (action in state ? { ...state, [action]: state[action] + 1 } : state), { a: 0, b: 0 });
const settled = () => new Promise((resolve) => setTimeout(resolve));

test("a listener hears of what it selects, once for several actions", async () => {
  const store = counter();
  const heard = [];
  store.watch((state) => [state.a], (a) => heard.push(a));
  store.send("a");
  store.send("a");
  store.send("b");
  store.send("c");
  await settled();
  assert.deepEqual(heard, [0, 2]);
});

test("a listener that ended hears no more", async () => {
  const store = counter();
  const heard = [];
  const end = store.watch((state) => [state.a], (a) => heard.push(a));
  end();
  store.send("a");
  await settled();
  assert.deepEqual(heard, [0]);
});
