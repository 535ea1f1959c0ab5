/** The take in the middle of the page: its picture, its regions, and what the last edit kept of it. */

import { candidateTakes, FIRST_PROMPT, openTake, place } from "../state/actions.js";
import { previewedEdit } from "../state/shown.js";
import { count, duration, t } from "../strings.js";
import { fill, h, styles } from "./element.js";
import { facts as labels } from "./facts.js";

/**
 * @typedef {import("../net/events.js").Store} Store
 * @typedef {import("../controls.js").Controls} Controls
 * @typedef {import("../audio/player.js").Player} Player
 */

const EXAMPLES = [FIRST_PROMPT, "bell, A4", "rain"];

/**
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 */
export function editor(store, player, controls) {
  const name = h("h1");
  const facts = h("span", { class: "soft number" });
  const empty = h("div", { class: "empty column" }, h("p", {}, t.editor.empty),
    h("p", { class: "row" }, h("span", { class: "soft" }, t.editor.examples),
      EXAMPLES.map((text) => h("button", { type: "button", class: "chip", onclick: () => store.send({ type: "words", words: { prompt: text, mode: "make" } }) }, text))));
  const work = h("div", { class: "column work" });
  const end = store.watch((state) => [openTake(state) !== null || state.candidates !== null], async (isNeeded) => {
    if (!isNeeded) return;
    queueMicrotask(() => end());
    const [module] = await Promise.all([import("./work.js"), styles("editor")]);
    fill(work, module.work(store, player, controls));
  });
  store.watch((state) => [place(state).take === null ? candidateTakes(state).find(({ take }) => take in state.takes)?.take : null], (first) => {
    if (first) store.send({ type: "open", take: first }); // an empty editor shows the first new take
  });
  const other = h("span", { class: "preview small" });
  store.watch((state) => [previewedEdit(state)?.id, state.candidates?.job, !state.blind && state.listening.side === "a"], (id, _, isA) => {
    const takes = candidateTakes(store.state);
    other.hidden = !id && !isA;
    other.textContent = isA ? t.editor.playsA : t.editor.plays(takes.findIndex((one) => one.take === id) + 1, takes.length);
  });
  store.watch((state) => [openTake(state)], (take) => {
    empty.hidden = take !== null;
    work.hidden = take === null;
    name.textContent = take ? take.title || take.prompt || take.audio.name || t.kind.upload : t.editor.label;
    name.className = take ? "cut" : "hidden-text";
    facts.textContent = take ? (take.audio.seconds < 60 ? `${take.audio.seconds.toFixed(3)} s` : duration(take.audio.seconds)) : "";
    facts.title = take ? t.editor.exact(count(take.audio.samples), take.audio.rate) : "";
  });
  return h("section", { class: "panel editor column", "aria-label": t.editor.label }, h("div", { class: "row head" }, name,
      other, facts, labels(store, player, controls)), empty, work);
}
