/** Fields of forms: numbers, sliders, switches, folds. Each follows one value of the words. */

import { t } from "../strings.js";
import { h, iconButton } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../types.js").State} State */
/** @typedef {import("../types.js").Words} Words */
/** @typedef {{[K in keyof Words]: Words[K] extends number | null ? K : never}[keyof Words]} NumberName */

let ids = 0;

/** A new id of an element. */
export function newId() {
  return `field-${ids++}`;
}

/**
 * Show an element only while a condition holds.
 * @template {HTMLElement} E
 * @param {Store} store
 * @param {E} element
 * @param {(state: State) => boolean} condition
 * @returns {E}
 */
export function shownIf(store, element, condition) {
  store.watch((state) => [condition(state)], (shown) => (element.hidden = !shown));
  return element;
}

/**
 * @param {string} label
 * @param {string} id
 * @param {...(Node | string | null | false)} children
 */
export function labeled(label, id, ...children) {
  return h("div", { class: "field" }, h("label", { htmlFor: id }, label), h("div", { class: "row" }, ...children));
}

/**
 * A number of the words. Empty means the default where the value may be null; `standard` says what that is.
 * @param {Store} store
 * @param {string} label
 * @param {NumberName} name
 * @param {{min: number, max: number, step: number, unit?: string, scale?: number, optional?: boolean,
 *   standard?: (state: State) => string, also?: Partial<Words>, after?: Node}} options
 */
export function numberField(store, label, name, options) {
  const id = newId();
  const { min, max, step, unit, scale = 1, optional = false, also, after } = options;
  const input = h("input", {
    id, type: "number", class: "number", min: String(min), max: String(max), step: optional ? "any" : String(step), required: !optional,
    oninput: () => {
      const valid = input.validity.valid || input.validity.stepMismatch;
      input.setAttribute("aria-invalid", String(!valid));
      if (!valid) return;
      const value = input.value === "" ? null : input.valueAsNumber / scale;
      store.send({ type: "words", words: { ...also, [name]: value } });
    },
    onchange: () => { // what cannot be used becomes the nearest number that can, or what it was
      if (input.getAttribute("aria-invalid") !== "true") return;
      const typed = input.valueAsNumber;
      input.value = Number.isNaN(typed) ? text(store.state.words[name]) : String(Math.min(max, Math.max(min, typed)));
      input.dispatchEvent(new Event("input"));
    },
  });
  const text = (/** @type {number | null} */ value) => (value === null ? "" : String(Math.round(value * scale * 1e4) / 1e4));
  store.watch((state) => [state.words[name], options.standard?.(state) ?? ""], (value, standard) => {
    input.placeholder = standard;
    if (document.activeElement === input) return;
    input.value = text(value);
    input.setAttribute("aria-invalid", "false");
  });
  return labeled(label, id, input, unit ? h("span", { class: "soft" }, unit) : null, after ?? null);
}

/**
 * @param {Store} store
 * @param {string} label
 * @param {"noise" | "regionNoise" | "mix"} name
 * @param {number} min
 * @param {{value: number, label: string}[]} marks values that are worth a click
 */
export function slider(store, label, name, min, marks = []) {
  const id = newId();
  const output = h("output", { class: "number", htmlFor: id });
  const send = (/** @type {number} */ value) => store.send({ type: "words", words: { [name]: value } });
  const input = h("input", { id, type: "range", min: String(min), max: "1", step: "0.01", class: "grow", oninput: () => send(input.valueAsNumber) });
  const buttons = marks.map((mark) => h("button", { type: "button", class: "plain mark", onclick: () => send(mark.value) },
    h("span", { class: "number" }, String(mark.value)), h("span", {}, mark.label)));
  store.watch((state) => [state.words[name]], (value) => {
    input.value = String(value);
    output.textContent = value.toFixed(2);
    marks.forEach((mark, index) => buttons[index].setAttribute("aria-pressed", String(Math.abs(mark.value - value) < 0.005)));
  });
  return h("div", { class: "column tight" }, labeled(label, id, input, output), marks.length > 0 && h("div", { class: "marks" }, buttons));
}

/**
 * A check box of the words.
 * @param {Store} store
 * @param {string} label
 * @param {"loop"} name
 * @param {string} hint
 */
export function switchField(store, label, name, hint) {
  const input = h("input", { type: "checkbox", onchange: () => store.send({ type: "words", words: { [name]: input.checked } }) });
  store.watch((state) => [state.words[name]], (value) => (input.checked = value));
  return h("label", { class: "row switch", title: hint }, input, h("span", {}, label), h("span", { class: "soft small" }, hint));
}

/** @param {Store} store */
export function seedField(store) {
  const id = newId();
  const input = h("input", {
    id, type: "text", inputMode: "numeric", pattern: "[0-9]*", placeholder: t.drawn, class: "number", autocomplete: "off",
    oninput: () => {
      const text = input.value.trim();
      const seed = text === "" ? null : Number(text);
      const valid = seed === null || (Number.isSafeInteger(seed) && seed >= 0);
      input.setAttribute("aria-invalid", String(!valid));
      if (valid) store.send({ type: "words", words: { seed } });
    },
  });
  store.watch((state) => [state.words.seed], (seed) => {
    if (document.activeElement !== input) input.value = seed === null ? "" : String(seed);
  });
  const draw = iconButton("dice", t.newSeed, () => {
    input.value = "";
    store.send({ type: "words", words: { seed: null } });
  });
  return labeled(t.seed, id, input, draw);
}

/**
 * A part that is folded away until it is asked for.
 * @param {string | Node} title
 * @param {...(Node | string | null)} children
 */
export function fold(title, ...children) {
  return h("details", { class: "fold" }, h("summary", {}, title), h("div", { class: "column" }, ...children));
}

/**
 * Buttons of which one is pressed.
 * @template {string} V
 * @param {Store} store
 * @param {string} label
 * @param {{value: V, label: string}[]} choices
 * @param {(state: State) => V} chosen
 * @param {(value: V) => void} choose
 */
export function segments(store, label, choices, chosen, choose) {
  const buttons = choices.map((choice) => h("button", { type: "button", onclick: () => choose(choice.value) }, choice.label));
  store.watch((state) => [chosen(state)], (value) =>
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(choices[index].value === value))));
  return h("div", { class: "segments always", role: "group", "aria-label": label }, buttons);
}
