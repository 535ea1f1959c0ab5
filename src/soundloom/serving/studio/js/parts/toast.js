/** A short notice of what was done, with a button that takes it back. */

import { library as words } from "../strings-library.js";
import { t } from "../strings.js";
import { fill, h, iconButton } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */

const SHOWN_MS = 10_000;

/**
 * @param {Store} store
 * @param {{undo: () => void}} controls
 */
export function toast(store, controls) {
  const text = h("span", { class: "grow", role: "status" });
  const undo = h("button", { type: "button", onclick: controls.undo }, words.undo);
  const close = () => store.send({ type: "toast", toast: null });
  const box = h("div", { class: "toast row", hidden: true }, text, undo, iconButton("close", t.close, close));
  let timer = 0;
  const wait = () => {
    clearTimeout(timer);
    timer = setTimeout(() => (box.matches(":hover, :focus-within") ? wait() : close()), SHOWN_MS);
  };
  store.watch((state) => [state.toast], (shown) => {
    box.hidden = shown === null;
    if (!shown) return;
    fill(text, shown.text);
    undo.hidden = shown.undo === null;
    wait();
  });
  return box;
}
