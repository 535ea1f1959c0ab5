/** What a mode asks for besides words: length, change, how much to add, how many takes, the seed. */

import { openTake, place, usedModel } from "../state/actions.js";
import { passesOf } from "../state/request.js";
import { gridOf } from "../state/tempo.js";
import { count, duration, t } from "../strings.js";
import { fill, h, icon } from "./element.js";
import { fold, labeled, newId, numberField, seedField, segments, shownIf, slider, switchField } from "./fields.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Mode} Mode */
/** @typedef {import("../types.js").State} State */

const isMusic = (/** @type {State} */ state) => usedModel(state)?.music === true;
const inPasses = (/** @type {State} */ state) => passesOf(state).length > 1;
const DEFAULT_BARS = 2;
const BEATS = 4; // of a bar

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function asks(store, controls) {
  /** @type {(element: HTMLElement, ...modes: Mode[]) => HTMLElement} */
  const inModes = (element, ...modes) => shownIf(store, element, (state) => modes.includes(state.words.mode));
  const crossfade = numberField(store, t.crossfade, "crossfade", { min: 0, max: 500, step: 1, unit: t.milliseconds, scale: 1000 });
  return h("div", { class: "column" },
    inModes(length(store), "make"),
    inModes(change(store), "vary"),
    inModes(remake(store, controls), "remake"),
    inModes(extend(store), "extend"),
    inModes(crossfade, "remake", "extend"),
    shownIf(store, numberField(store, t.takes, "count", { min: 1, max: 100, step: 1, also: { countChosen: true } }), (state) => !inPasses(state)),
    shownIf(store, h("p", { class: "soft small" }, t.words.onePerPass), inPasses),
    seedField(store));
}

/** Seconds, or bars at a tempo. @param {Store} store */
function length(store) {
    const unit = segments(store, t.words.unit, [{ value: "seconds", label: t.seconds }, { value: "bars", label: t.words.bars }],
    (state) => (state.words.bars === null ? "seconds" : "bars"),
    (value) => store.send({ type: "words", words: { bars: value === "bars" ? (store.state.words.bars ?? DEFAULT_BARS) : null } }));
  shownIf(store, unit, (state) => !isMusic(state));
  const result = h("output", { class: "soft small number" });
  store.watch((state) => [state.words, state.reading, state.models, state.model], (words) => {
    const seconds = secondsOf(store.state);
    const rate = usedModel(store.state)?.rate ?? 44100;
    const samples = count(Math.round((seconds ?? 0) * rate));
    result.textContent = seconds === null ? "" : words.bars === null ? t.words.samples(samples) : t.words.equals(duration(seconds));
    result.title = seconds === null ? "" : t.words.exactly(samples, count(rate));
  });
  const asBars = (/** @type {State} */ state) => state.words.bars !== null && !isMusic(state);
  const seconds = shownIf(store, numberField(store, t.length, "seconds", { min: 0.1, max: 600, step: 0.1, after: unit }), (state) => !asBars(state));
  const barsUnit = segments(store, t.words.unit, [{ value: "seconds", label: t.seconds }, { value: "bars", label: t.words.bars }],
    () => "bars", () => store.send({ type: "words", words: { bars: null } }));
  const bars = shownIf(store, numberField(store, t.length, "bars", { min: 0.25, max: 256, step: 1, after: barsUnit }), asBars);
  const tempo = shownIf(store, numberField(store, t.words.tempo, "bpm", {
    min: 20, max: 400, step: 1, optional: true, unit: t.words.bpm, standard: (state) => (state.reading?.bpm ? String(state.reading.bpm) : ""),
  }), asBars);
  const loop = shownIf(store, switchField(store, t.words.loop, "loop", t.words.loopHint), (state) => !isMusic(state));
  return h("div", { class: "column" }, seconds, bars, tempo, h("div", { class: "field" }, h("span", {}), result), loop);
}

/** @param {State} state */
function secondsOf(state) {
  const { seconds, bars, bpm } = state.words;
  if (bars === null) return seconds;
  const tempo = bpm ?? state.reading?.bpm ?? null;
  return tempo === null ? null : (bars * BEATS * 60) / tempo;
}

/** @param {Store} store */
function change(store) {
  const weak = h("p", { class: "soft small row top" }, icon("help"), h("span", { class: "grow" }, t.words.weakChange));
  return h("div", { class: "column" },
    slider(store, t.change, "noise", 0.01, t.words.changeMarks), shownIf(store, weak, (state) => state.model === "mini"));
}

/**
 * @param {Store} store
 * @param {Controls} controls
 */
function remake(store, controls) {
  const none = h("div", { class: "column tight" },
    h("p", { class: "soft small" }, t.words.regionsHint),
    h("button", { type: "button", onclick: () => void controls.makeLoop() }, icon("loop"), t.words.makeLoop),
    h("p", { class: "soft small" }, t.words.makeLoopHint));
  shownIf(store, none, (state) => openTake(state) !== null && place(state).regions.length === 0);
  return h("div", { class: "column" }, none, slider(store, t.change, "regionNoise", 0.01, t.words.regionMarks));
}

/** @param {Store} store */
function extend(store) {
  const chips = h("div", { class: "row", role: "group", "aria-label": t.words.add });
  store.watch((state) => [gridOf(state)?.bpm ?? null], (bpm) => {
    const bar = bpm ? (BEATS * 60) / bpm : null;
    fill(chips, [1, 2, 4, 8].map((amount) => {
      const after = bar ? amount * bar : amount;
      const label = bar ? t.words.plusBars(amount) : `+${duration(amount)}`;
      return h("button", { type: "button", class: "chip", onclick: () => store.send({ type: "words", words: { after } }) }, label);
    }));
  });
  return h("div", { class: "column" },
    numberField(store, t.before, "before", { min: 0, max: 600, step: 0.1, unit: t.seconds }),
    numberField(store, t.after, "after", { min: 0, max: 600, step: 0.1, unit: t.seconds }), chips);
}

const INSTRUMENTS = ["Drums", "Bass", "Piano", "Guitar"];
const VERBS = /** @type {const} */ (["Only", "Remove", "Add"]);

/** Edit by words: chips for what the editing model was trained on. @param {Store} store */
export function editWords(store) {
  const table = h("div", { class: "instructions", role: "group", "aria-label": t.edit.chips });
  const press = () => {
    for (const chip of table.querySelectorAll("button")) chip.setAttribute("aria-pressed", String(chip.dataset.text === store.state.words.prompt));
  };
  store.watch((state) => [usedModel(state)?.instruments ?? null], (known) => {
    const instruments = known?.length ? known : INSTRUMENTS;
    fill(table, VERBS.flatMap((verb) => [
      h("span", { class: "soft" }, t.edit.verb[verb]),
      h("div", { class: "row" }, instruments.map((name) => {
        const prompt = `${verb} ${name.toLowerCase()}`;
        const say = t.edit.say(t.edit.verb[verb], name);
        const choose = () => store.send({ type: "words", words: { prompt } });
        return h("button", { type: "button", class: "chip", "data-text": prompt, "aria-label": say, onclick: choose }, name);
      })),
    ]));
    press();
  });
  store.watch((state) => [state.words.prompt], press);
  const about = h("p", { class: "soft small" }, t.edit.about);
  return shownIf(store, h("div", { class: "column" }, table, about), (state) => state.words.mode === "edit");
}

const SAMPLERS = ["pingpong", "euler", "heun", "rk4", "dpmpp-2m", "dpmpp-3m-sde"];
const NAMES = /** @type {const} */ (["steps", "sampler", "guidance", "apg", "seam", "padding", "temperature", "topK"]);

/** @typedef {"steps" | "guidance" | "apg" | "seam" | "padding" | "temperature" | "topK"} Setting */
/** @type {Record<Setting, {min: number, max: number, step: number, unit?: string, standard: string | ((state: State) => unknown)}>} */
const SETTINGS = {
  guidance: { min: 0, max: 20, step: 0.5, standard: (state) => usedModel(state)?.guidance },
  apg: { min: 0, max: 1, step: 0.1, standard: "1" },
  steps: { min: 1, max: 500, step: 1, standard: (state) => usedModel(state)?.steps },
  seam: { min: 0.02, max: 10, step: 0.1, unit: t.seconds, standard: "0.5" },
  padding: { min: 0, max: 60, step: 1, unit: t.seconds, standard: "6" },
  temperature: { min: 0, max: 4, step: 0.1, standard: "1" },
  topK: { min: 0, max: 2048, step: 1, standard: "250" },
};

/** The settings that few people need, and why some models have fewer of them. @param {Store} store */
export function more(store) {
  const isGuided = (/** @type {State} */ state) => usedModel(state)?.distilled === false;
  const isSound = (/** @type {State} */ state) => !isMusic(state);
  /** @type {(element: HTMLElement, condition: (state: State) => boolean) => HTMLElement} */
  const only = (element, condition) => shownIf(store, element, condition);
  const number = (/** @type {Setting} */ name) => {
    const { standard, ...limits } = SETTINGS[name];
    const shown = typeof standard === "string" ? () => standard : (/** @type {State} */ state) => String(standard(state) ?? "");
    return numberField(store, t.more[name], name, { ...limits, optional: true, standard: shown });
  };
  const why = h("p", { class: "soft small" });
  store.watch((state) => [state.model, state.models], (name) => {
    const model = usedModel(store.state);
    why.textContent = model?.music ? t.more.noNegative(name) : model?.distilled ? t.more.distilled(name) : "";
    why.hidden = !why.textContent;
  });
  const own = { ...Object.fromEntries(NAMES.map((name) => [name, null])), negative: "", promptB: "" };
  const reset = h("button", { type: "button", class: "plain small", onclick: () => store.send({ type: "words", words: own }) }, t.more.reset);
  return fold(t.more.title(0),
    only(textField(store, t.more.negative, "negative", t.more.negativeHint), isGuided),
    only(number("guidance"), (state) => isGuided(state) || isMusic(state)),
    only(number("apg"), (state) => isGuided(state) && state.words.guidance !== null),
    why,
    only(textField(store, t.more.second, "promptB", t.more.secondHint), isSound),
    only(slider(store, t.more.mix, "mix", 0), (state) => isSound(state) && state.words.promptB.trim() !== ""),
    only(number("steps"), isSound),
    only(samplerField(store), isSound),
    only(number("seam"), (state) => state.words.loop && state.words.mode === "make"),
    only(number("padding"), isSound),
    only(number("temperature"), isMusic),
    only(number("topK"), isMusic),
    only(reset, (state) => changed(state) > 0));
}

/** How many settings are not the model's own. @param {State} state */
export function changed(state) {
  const { words } = state;
  const isNegative = words.negative.trim() !== "" && usedModel(state)?.distilled === false;
  const acts = (/** @type {string} */ name) => (name !== "guidance" && name !== "apg") || usedModel(state)?.distilled !== true;
  return NAMES.filter((name) => words[name] !== null && acts(name)).length + Number(isNegative) + Number(words.promptB.trim() !== "");
}

/**
 * @param {Store} store
 * @param {string} label
 * @param {"negative" | "promptB"} name
 * @param {string} hint
 */
function textField(store, label, name, hint) {
  const id = newId();
  const input = h("textarea", {
    id, rows: 2, placeholder: hint, maxLength: 10_000, class: "short",
    oninput: () => store.send({ type: "words", words: { [name]: input.value } }),
  });
  store.watch((state) => [state.words[name]], (text) => {
    if (input.value !== text) input.value = text;
  });
  return h("div", { class: "column tight" }, h("label", { htmlFor: id, class: "soft" }, label), input);
}

/** @param {Store} store */
function samplerField(store) {
  const id = newId();
  const standard = h("option", { value: "" });
  const select = h("select", { id, onchange: () => store.send({ type: "words", words: { sampler: select.value || null } }) },
    standard, SAMPLERS.map((name) => h("option", { value: name }, name)));
  store.watch((state) => [state.words.sampler, usedModel(state)?.sampler ?? ""], (sampler, own) => {
    standard.textContent = own ? t.more.own(own) : t.more.ownSampler;
    select.value = sampler ?? "";
  });
  return labeled(t.more.sampler, id, select);
}
