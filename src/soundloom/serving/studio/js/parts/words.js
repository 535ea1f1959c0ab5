/** Words and settings, and the main button. */

import { place, openTake } from "../state/actions.js";
import { obstacle } from "../state/request.js";
import { duration, t } from "../strings.js";
import { drawerButton } from "./drawers.js";
import { fill, h, iconButton } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Mode} Mode */
/** @typedef {import("../types.js").State} State */

/** @type {("make" | "vary" | "remake" | "extend")[]} */
const MODES = ["make", "vary", "remake", "extend"];
let fields = 0;

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function words(store, controls) {
  return h("section", { class: "panel words column", "aria-label": t.words },
    modes(store), prompt(store, controls), settings(store), mainButton(store, controls));
}

/** @param {Store} store */
function modes(store) {
  const buttons = MODES.map((mode) =>
    h("button", { type: "button", onclick: () => store.send({ type: "words", words: { mode } }) }, t.mode[mode]));
  store.watch((state) => [state.words.mode], (mode) =>
    buttons.forEach((button, index) => button.setAttribute("aria-pressed", String(MODES[index] === mode))));
  return h("div", { class: "segments modes always", role: "group", "aria-label": t.mode.label }, buttons);
}

/**
 * @param {Store} store
 * @param {Controls} controls
 */
function prompt(store, controls) {
  const area = h("textarea", {
    id: "prompt", class: "always", rows: 3, placeholder: t.promptHint, "aria-label": t.prompt, maxLength: 10_000,
    oninput: () => store.send({ type: "words", words: { prompt: area.value } }),
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        void controls.submit();
      }
    },
  });
  store.watch((state) => [state.words.prompt], (text) => {
    if (area.value !== text) area.value = text;
  });
  return area;
}

/** @param {Store} store */
function settings(store) {
  const shownIn = (/** @type {HTMLElement} */ element, /** @type {Mode[]} */ modes) => {
    store.watch((state) => [modes.includes(state.words.mode)], (shown) => (element.hidden = !shown));
    return element;
  };
  return h("div", { class: "column" },
    shownIn(numberField(store, t.length, "seconds", { min: 0.1, max: 600, step: 0.1, unit: t.seconds }), ["make"]),
    shownIn(changeField(store), ["vary"]),
    shownIn(numberField(store, t.before, "before", { min: 0, max: 600, step: 0.1, unit: t.seconds }), ["extend"]),
    shownIn(numberField(store, t.after, "after", { min: 0, max: 600, step: 0.1, unit: t.seconds }), ["extend"]),
    shownIn(numberField(store, t.crossfade, "crossfade", { min: 0, max: 500, step: 1, unit: t.milliseconds, scale: 1000 }), ["remake", "extend"]),
    numberField(store, t.takes, "count", { min: 1, max: 100, step: 1 }),
    seedField(store));
}

/**
 * @param {Store} store
 * @param {string} label
 * @param {"seconds" | "before" | "after" | "crossfade" | "count"} name
 * @param {{min: number, max: number, step: number, unit?: string, scale?: number}} options
 */
function numberField(store, label, name, { min, max, step, unit = "", scale = 1 }) {
  const id = `field-${fields++}`;
  const input = h("input", {
    id, type: "number", min, max, step,
    oninput: () => {
      const value = input.valueAsNumber;
      const valid = Number.isFinite(value) && value >= min && value <= max;
      input.setAttribute("aria-invalid", String(!valid));
      if (valid) store.send({ type: "words", words: { [name]: value / scale } });
    },
    onblur: () => show(store.state.words[name]),
  });
  const show = (/** @type {number} */ value) => {
    input.valueAsNumber = Number((value * scale).toPrecision(12));
    input.setAttribute("aria-invalid", "false");
  };
  store.watch((state) => [state.words[name]], (value) => {
    if (document.activeElement !== input) show(value);
  });
  return h("div", { class: "field" }, h("label", { htmlFor: id }, label), h("div", { class: "row" }, input, unit));
}

/** @param {Store} store */
function seedField(store) {
  const id = `field-${fields++}`;
  const input = h("input", {
    id, type: "text", inputMode: "numeric", pattern: "[0-9]*", placeholder: t.drawn, class: "number",
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
  return h("div", { class: "field" }, h("label", { htmlFor: id }, t.seed), h("div", { class: "row" }, input, draw));
}

/** @param {Store} store */
function changeField(store) {
  const id = `field-${fields++}`;
  const output = h("output", { class: "number" });
  const input = h("input", {
    id, type: "range", min: 0.01, max: 1, step: 0.01, class: "grow", list: "change-marks",
    oninput: () => store.send({ type: "words", words: { noise: input.valueAsNumber } }),
  });
  store.watch((state) => [state.words.noise], (noise) => {
    input.valueAsNumber = noise;
    output.textContent = noise.toFixed(2);
  });
  const marks = h("datalist", { id: "change-marks" }, [0.4, 0.6, 0.8].map((value) => h("option", { value: String(value) })));
  return h("div", { class: "column" },
    h("div", { class: "field" }, h("label", { htmlFor: id }, t.change), h("div", { class: "row" }, input, output, marks)),
    h("p", { class: "soft small" }, t.changeMarks));
}

/**
 * @param {Store} store
 * @param {Controls} controls
 */
function mainButton(store, controls) {
  const button = h("button", { type: "button", class: "main big grow", onclick: () => void controls.submit() });
  const note = h("p", { class: "soft small", "aria-live": "polite" });
  store.watch(
    (state) => [label(state), obstacle(state), state.check],
    (text, reason, check) => {
      button.textContent = text;
      button.disabled = reason !== null;
      if (reason) note.textContent = t.obstacle[reason];
      else if (check) fill(note, t.about(check.estimated_seconds), notes(check));
      else note.textContent = "";
    },
  );
  return h("div", { class: "column go always" }, h("div", { class: "row" }, button, drawerButton(store, "words")), note);
}

/** @param {State} state */
function label(state) {
  const { mode, count, before, after } = state.words;
  if (mode === "vary") return t.button.vary(count);
  if (mode === "remake") return t.button.remake(place(state).regions.length);
  if (mode === "extend") return t.button.extend(duration(before + after));
  return mode === "edit" ? t.button.edit : t.button.make(openTake(state) || count ? count : 1);
}

/** @param {import("../types.js").Check} check */
function notes(check) {
  return [...new Set(check.clips.flatMap((clip) => clip.notes))].map((note) => h("span", { class: "note" }, ` · ${note}`));
}
