/** The take in the middle of the page. */

import { FIRST_PROMPT, openTake } from "../state/actions.js";
import { duration, t } from "../strings.js";
import { thumbnail } from "../view/thumbnail.js";
import { fill, h } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../audio/player.js").Player} Player */

const EXAMPLES = [FIRST_PROMPT, "bell, A4", "rain"];

/**
 * @param {Store} store
 * @param {Player} player
 */
export function editor(store, player) {
  const name = h("h1", { class: "cut" });
  const facts = h("span", { class: "soft number" });
  const view = h("div", { class: "view", onclick: (/** @type {MouseEvent} */ event) => player.seek((player.samples * event.offsetX) / view.clientWidth) });
  const empty = h("div", { class: "empty column" }, h("p", {}, t.editor.empty),
    h("p", { class: "row" }, h("span", { class: "soft" }, t.editor.examples),
      EXAMPLES.map((text) => h("button", { type: "button", class: "chip", onclick: () => store.send({ type: "words", words: { prompt: text, mode: "make" } }) }, text))));
  store.watch((state) => [openTake(state)], (take) => {
    empty.hidden = take !== null;
    view.hidden = take === null;
    name.textContent = take ? take.title || take.prompt || t.kind.upload : t.editor.label;
    name.className = take ? "cut" : "hidden-text";
    facts.textContent = take ? duration(take.audio.seconds) : "";
    fill(view, take && thumbnail(take.id));
  });
  return h("section", { class: "panel editor column", "aria-label": t.editor.label }, h("div", { class: "row" }, name, facts), empty, view);
}
