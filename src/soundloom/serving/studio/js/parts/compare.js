/** Compare the take before with this one: A and B, what differs, and a blind test. And how takes are heard. */

import { byChance, comparable, isCandidate, offsetsOf, sidesOf, sideOf } from "../listening.js";
import { decibels, t } from "../strings.js";
import { fill, h, icon, popover } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").State} State */

const SIDES = /** @type {const} */ (["a", "b"]);

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function compare(store, controls) {
  const buttons = SIDES.map((side) => h("button", { type: "button", onclick: () => controls.choose(side) }, side.toUpperCase()));
  const note = h("output", { class: "number soft offset" });
  const group = h("div", { class: "row compare", role: "group", "aria-label": t.compare.label },
    h("div", { class: "segments" }, buttons), note);
  store.watch((state) => [sidesOf(state).a, sidesOf(state).b, state.listening, state.blind, offsetsOf(state).a, offsetsOf(state).b],
    (a, b, listening, blind, offsetA, offsetB) => {
      group.hidden = !a || !b;
      const names = { a: listening.heard ? t.compare.current : t.compare.before, b: listening.heard ? (isCandidate(store.state, b) ? t.compare.candidate : t.compare.heard) : t.compare.current };
      const side = sideOf(store.state);
      buttons.forEach((button, index) => {
        const one = SIDES[index];
        button.setAttribute("aria-pressed", String(!blind && !listening.difference && one === side));
        button.disabled = blind !== null;
        button.title = `${one.toUpperCase()}: ${names[one]}`;
        button.setAttribute("aria-label", button.title);
      });
      const offset = side === "a" ? offsetA : offsetB;
      note.textContent = blind ? "" : listening.difference ? t.compare.differenceShort : decibels(offset);
      note.title = listening.difference ? t.compare.differenceMore : offset < 0 ? t.compare.turnedDown(decibels(-offset)) : t.compare.notTurnedDown;
    });
  return group;
}

/**
 * The menu of how takes are heard.
 * @param {Store} store
 * @param {Controls} controls
 */
export function listeningMenu(store, controls) {
  const dialog = blindDialog(store, controls);
  const switches = /** @type {const} */ (["matched", "difference", "metronome"]).map((name) =>
    checkbox(store, t.listening[name], t.listening[`${name}More`], (state) => state.listening[name], (on) => controls.setListening({ [name]: on })));
  const half = checkbox(store, t.listening.half, t.listening.halfMore, (state) => state.listening.speed === 0.5, (on) =>
    controls.setListening({ speed: on ? 0.5 : 1 }));
  const blind = h("button", { type: "button", onclick: () => dialog.open() }, t.blind.open);
  const why = h("p", { class: "soft small" }, t.blind.needsTwo);
  store.watch((state) => [sidesOf(state).a && sidesOf(state).b], (two) => {
    blind.disabled = !two;
    why.hidden = Boolean(two);
  });
  const other = h("select", { id: "compare-with", class: "grow", onchange: () => store.send({ type: "compare", take: other.value || null }) });
  const field = h("div", { class: "field" }, h("label", { htmlFor: "compare-with" }, t.compare.with), h("div", { class: "row" }, other));
  store.watch((state) => [comparable(state).map((take) => take.id).join(), state.compare, state.candidates, state.listening.heard], (_, id, candidates, heard) => {
    const takes = comparable(store.state);
    const job = store.state.jobs[candidates?.job ?? ""];
    const name = (/** @type {import("../types.js").Take} */ take) => {
      const item = job?.items.find((one) => one.take === take.id);
      const title = take.title || take.prompt || take.audio.name;
      return item ? t.candidates.take(item.number + 1, job.items.length) : `${t.kind[/** @type {keyof typeof t.kind} */ (take.kind)] ?? take.kind}: ${title}`;
    };
    field.hidden = takes.length === 0 || heard !== null; // then A is the take in the editor
    fill(other, !id && h("option", { value: "" }, "–"), takes.map((take) => h("option", { value: take.id, selected: take.id === id }, name(take))));
  });
  const menu = popover(t.listening.label, icon("ear"), h("h2", {}, t.listening.label), half, switches[2], field, switches[0], switches[1], blind, why);
  store.watch((state) => [state.listening], ({ speed, metronome, difference }) =>
    menu.button.classList.toggle("on", speed !== 1 || metronome || difference));
  return [menu.button, menu.panel, dialog.element];
}

/**
 * @param {Store} store
 * @param {string} label
 * @param {string} more
 * @param {(state: State) => boolean} read
 * @param {(on: boolean) => void} write
 */
function checkbox(store, label, more, read, write) {
  const input = h("input", { type: "checkbox", onchange: () => write(input.checked) });
  store.watch((state) => [read(state)], (on) => (input.checked = on));
  return h("label", { class: "choice" }, input, h("span", {}, label, h("span", { class: "soft small" }, more)));
}

/**
 * Hear A, B, and X, which is one of them, and say which.
 * @param {Store} store
 * @param {Controls} controls
 */
function blindDialog(store, controls) {
  const hear = /** @type {const} */ (["a", "b", "x"]).map((side) =>
    h("button", { type: "button", class: "big", onclick: () => controls.hear(side) }, t.blind.hear(side.toUpperCase())));
  const answers = SIDES.map((side) => h("button", { type: "button", class: "big", onclick: () => controls.answer(side) }, t.blind.answer(side.toUpperCase())));
  const score = h("p", { role: "status" });
  const again = h("button", { type: "button", onclick: () => controls.blind() }, t.blind.again);
  const close = h("button", { type: "button", onclick: () => element.close() }, t.close);
  const onkeydown = (/** @type {KeyboardEvent} */ event) => {
    const side = /** @type {const} */ (["a", "b", "x"]).find((one) => one === event.key.toLowerCase());
    if (side && !event.ctrlKey && !event.metaKey && !event.altKey) controls.hear(side);
  };
  const element = h("dialog", { class: "blind", "aria-labelledby": "blind-title", onclose: () => controls.endBlind(), onkeydown },
    h("div", { class: "column" }, h("h2", { id: "blind-title" }, t.blind.title), h("p", { class: "soft" }, t.blind.more),
      h("div", { class: "row thirds" }, hear), h("div", { class: "row halves" }, answers), score, h("div", { class: "row" }, again, h("span", { class: "grow" }), close)));
  store.watch((state) => [state.blind], (blind) => {
    if (!blind) return;
    hear.forEach((button, index) => button.setAttribute("aria-pressed", String("abx"[index] === blind.hearing)));
    const right = blind.answers.filter(Boolean).length;
    const last = blind.answers.at(-1);
    again.disabled = blind.answers.length === 0;
    fill(score, last === undefined ? t.blind.none : h("strong", { class: last ? "good" : "bad" }, icon(last ? "check" : "close"), last ? t.blind.right : t.blind.wrong),
      blind.answers.length > 0 && ` ${t.blind.score(right, blind.answers.length)} ${t.blind.chance(byChance(right, blind.answers.length))}`);
  });
  const open = () => {
    controls.blind();
    element.showModal();
  };
  return { element, open };
}
