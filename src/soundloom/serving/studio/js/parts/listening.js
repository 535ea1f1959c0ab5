/** Menus and dialogs that are loaded when they are opened: listening, tempo, blind test. */

import { post } from "../net/api.js";
import { byChance, changedRegions, comparable, sidesOf } from "../listening.js";
import { openTake } from "../state/actions.js";
import { askedTempo, gridOf, HIGHEST_BPM, LOWEST_BPM } from "../state/tempo.js";
import { words } from "../strings-listening.js";
import { decibels, t } from "../strings.js";
import { letter } from "../view/regions.js";
import { fill, h, icon, keyed, later } from "./element.js";
import { round } from "./facts.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../audio/player.js").Player} Player */
/** @typedef {import("../types.js").State} State */

const SIDES = /** @type {const} */ (["a", "b"]);

/**
 * How takes play.
 * @param {Store} store
 * @param {Controls} controls
 */
export function listeningOptions(store, controls) {
  const open = later(async () => blindDialog(store, controls));
  const switches = /** @type {const} */ (["matched", "difference", "metronome"]).map((name) =>
    checkbox(store, words.listening[name], words.listening[`${name}More`], (state) => state.listening[name], (on) => controls.setListening({ [name]: on })));
  const half = checkbox(store, words.listening.half, words.listening.halfMore, (state) => state.listening.speed === 0.5, (on) =>
    controls.setListening({ speed: on ? 0.5 : 1 }));
  const blind = h("button", { type: "button", onclick: () => (controls.blind(), void open()) }, words.blind.open);
  const why = h("p", { class: "soft small" }, words.blind.needsTwo);
  store.watch((state) => [sidesOf(state).a && sidesOf(state).b], (two) => {
    blind.disabled = !two;
    why.hidden = Boolean(two);
  });
  return [half, switches[2], chooser(store), regions(store, controls), switches[0], switches[1], blind, why];
}

/**
 * What A is, of the takes that were in the editor and the new ones.
 * @param {Store} store
 */
function chooser(store) {
  const select = h("select", { id: "compare-with", class: "grow", onchange: () => store.send({ type: "compare", take: select.value || null }) });
  const field = h("div", { class: "field" }, h("label", { htmlFor: "compare-with" }, t.compare.with), h("div", { class: "row" }, select));
  const key = (/** @type {State} */ state) => comparable(state).map((take) => take.id).join();
  store.watch((state) => [key(state), state.compare, state.listening.preview], (_, id, preview) => {
    const takes = comparable(store.state);
    const options = takes.map((take) => h("option", { value: take.id, selected: take.id === id }, takeName(store.state, take)));
    field.hidden = takes.length === 0 || preview !== null; // then A is the take in the editor
    fill(select, !id && h("option", { value: "" }, "–"), options);
  });
  return field;
}

/**
 * The regions of an edit, each to hear as it was.
 * @param {Store} store
 * @param {Controls} controls
 */
function regions(store, controls) {
  const chips = h("div", { class: "kinds" });
  const keep = h("button", { type: "button", title: words.listening.mixMore, onclick: () => void keepMix(store, controls) }, words.listening.mix);
  const field = h("div", { class: "field", role: "group", "aria-label": t.compare.regions },
    h("span", { class: "soft" }, t.compare.regions), h("div", { class: "column tight" }, chips, keep));
  const key = (/** @type {State} */ state) => changedRegions(state).map(({ start, end }) => `${start}-${end}`).join();
  store.watch((state) => [key(state), state.listening.before], (_, before) => {
    const found = changedRegions(store.state);
    field.hidden = found.length === 0;
    keep.hidden = before.length === 0 || before.length === store.state.comparisons[sidesOf(store.state).b ?? ""]?.new.length;
    const make = (/** @type {number} */ index) =>
      h("button", { type: "button", class: "chip", onclick: () => controls.toggleRegion(index) }, t.compare.region(letter(index)));
    keyed(chips, [...found.keys()], String, make, (chip, index) => chip.setAttribute("aria-pressed", String(before.includes(index))));
  });
  return field;
}

/**
 * Make a take of what plays, with some regions as before, and open it.
 * @param {Store} store
 * @param {Controls} controls
 */
async function keepMix(store, controls) {
  const { b } = sidesOf(store.state);
  const regions = changedRegions(store.state).filter((_, index) => store.state.listening.before.includes(index));
  const made = b && (await controls.attempt(() => post(`/v1/takes/${encodeURIComponent(b)}/mix`, { regions })));
  if (!made) return;
  store.send({ type: "takes", takes: [made] });
  await controls.open(made.id);
}

/**
 * @param {State} state
 * @param {import("../types.js").Take} take
 */
function takeName(state, take) {
  const job = state.jobs[state.candidates?.job ?? ""];
  const item = job?.items.find((one) => one.take === take.id);
  if (item) return t.candidates.take(item.number + 1, job.items.length);
  return `${t.kind[/** @type {keyof typeof t.kind} */ (take.kind)] ?? take.kind}: ${take.title || take.prompt || take.audio.name}` +
    (take.record.seed === undefined || take.record.seed === null ? "" : ` · ${t.candidates.seed(take.record.seed)}`);
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
    h("button", { type: "button", class: "big", onclick: () => controls.hear(side) }, words.blind.hear(side.toUpperCase())));
  const answers = SIDES.map((side) =>
    h("button", { type: "button", class: "big", onclick: () => controls.answer(side) }, words.blind.answer(side.toUpperCase())));
  const score = h("p", { role: "status" });
  const again = h("button", { type: "button", onclick: () => controls.blind() }, words.blind.again);
  const close = h("button", { type: "button", onclick: () => element.close() }, t.close);
  const onkeydown = (/** @type {KeyboardEvent} */ event) => {
    const side = /** @type {const} */ (["a", "b", "x"]).find((one) => one === event.key.toLowerCase());
    if (side && !event.ctrlKey && !event.metaKey && !event.altKey) controls.hear(side);
  };
  const element = h("dialog", { class: "blind", "aria-labelledby": "blind-title", onclose: () => controls.endBlind(), onkeydown },
    h("div", { class: "column" }, h("h2", { id: "blind-title" }, words.blind.title), h("p", { class: "soft" }, words.blind.more),
      h("div", { class: "row thirds" }, hear), h("div", { class: "row halves" }, answers), score,
      h("div", { class: "row" }, again, h("span", { class: "grow" }), close)));
  store.watch((state) => [state.blind], (blind) => {
    if (!blind) return;
    hear.forEach((button, index) => button.setAttribute("aria-pressed", String("abx"[index] === blind.hearing)));
    const right = blind.answers.filter(Boolean).length;
    const last = blind.answers.at(-1);
    again.disabled = blind.answers.length === 0;
    const answer = h("strong", { class: last ? "good" : "bad" }, icon(last ? "check" : "close"), last ? words.blind.right : words.blind.wrong);
    fill(score, last === undefined ? words.blind.none : answer,
      blind.answers.length > 0 && ` ${words.blind.score(right, blind.answers.length)} ${words.blind.chance(byChance(right, blind.answers.length))}`);
  });
  return element;
}

/**
 * The tempo to change, and all that was measured.
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 */
export function tempoOptions(store, player, controls) {
  const bpm = h("input", {
    id: "tempo", type: "number", min: LOWEST_BPM, max: HIGHEST_BPM, step: "any", class: "number",
    oninput: () => {
      const valid = bpm.value === "" || (bpm.valueAsNumber >= LOWEST_BPM && bpm.valueAsNumber <= HIGHEST_BPM);
      bpm.setAttribute("aria-invalid", String(!valid));
      if (valid) controls.setGrid({ bpm: bpm.value === "" ? undefined : bpm.valueAsNumber });
    },
  });
  const beats = h("input", {
    id: "beats", type: "number", min: 1, max: 16, step: 1, class: "number",
    oninput: () => beats.validity.valid && beats.value && controls.setGrid({ beats: beats.valueAsNumber }),
  });
  const change = (/** @type {number} */ factor) => {
    const grid = gridOf(store.state);
    if (grid) controls.setGrid({ bpm: Math.max(LOWEST_BPM, Math.min(HIGHEST_BPM, grid.bpm * factor)) });
  };
  const half = h("button", { type: "button", "aria-label": words.facts.half, title: words.facts.half, onclick: () => change(0.5) }, "÷2");
  const double = h("button", { type: "button", "aria-label": words.facts.double, title: words.facts.double, onclick: () => change(2) }, "×2");
  const at = h("input", {
    id: "first-beat", type: "number", min: 0, step: "any", class: "number",
    oninput: () => {
      const { rate = 1, samples = 0 } = openTake(store.state)?.audio ?? {};
      const sample = Math.round(at.valueAsNumber * rate);
      const valid = sample >= 0 && sample < samples;
      at.setAttribute("aria-invalid", String(!valid));
      if (valid) controls.setGrid({ first: sample });
    },
  });
  const first = h("button", { type: "button", onclick: () => controls.setGrid({ first: player.position }) }, words.facts.first);
  store.watch((state) => [gridOf(state)?.bpm, gridOf(state)?.beats, gridOf(state)?.first], (tempo, count, sample) => {
    if (document.activeElement !== at) at.value = sample === undefined ? "" : String(Number((sample / (openTake(store.state)?.audio.rate ?? 1)).toFixed(6)));
    if (document.activeElement !== bpm) bpm.value = tempo === undefined ? "" : String(round(tempo));
    if (document.activeElement !== beats) beats.value = String(count ?? 4);
    half.disabled = double.disabled = first.disabled = beats.disabled = at.disabled = tempo === undefined;
  });
  return [
    h("div", { class: "field" }, h("label", { htmlFor: "tempo" }, words.facts.tempo), h("div", { class: "row" }, bpm, half, double)),
    h("div", { class: "field" }, h("label", { htmlFor: "beats" }, words.facts.beats), h("div", { class: "row" }, beats)),
    h("div", { class: "field" }, h("label", { htmlFor: "first-beat" }, words.facts.firstAt), h("div", { class: "row" }, at, h("span", { class: "soft" }, t.seconds))),
    h("div", { class: "row" }, h("button", { type: "button", onclick: () => controls.tap() }, words.facts.tap), first),
    values(store),
  ];
}

/** What was asked for and what was measured, as a list. @param {Store} store */
function values(store) {
  const list = h("dl", { class: "values" });
  store.watch((state) => [openTake(state), state.measures[openTake(state)?.id ?? ""]], (take, measure) => {
    const asked = take && askedTempo(take);
    const sure = (/** @type {number} */ confidence) => words.facts.sure(Math.round(100 * confidence));
    const rows = {
      [words.facts.tempoAsked]: asked ? t.facts.bpm(round(asked)) : "–",
      [words.facts.tempoMeasured]: measure?.tempo ? `${t.facts.bpm(round(measure.tempo))}, ${sure(measure.tempo_confidence)}` : "–",
      [words.facts.key]: measure?.key ? `${measure.key}, ${sure(measure.key_confidence)}` : "–",
      [words.facts.pitch]: measure?.pitch ? `${measure.pitch.toFixed(1)} Hz` : "–",
      [words.facts.loudness]: typeof measure?.loudness === "number" ? decibels(measure.loudness, "LUFS") : "–",
      [words.facts.peak]: typeof measure?.true_peak === "number" ? decibels(measure.true_peak) : "–",
    };
    fill(list, measure === undefined ? h("div", {}, t.facts.measuring) : Object.entries(rows).map(([name, value]) =>
      h("div", {}, h("dt", { class: "soft" }, name), h("dd", {}, value))));
  });
  return list;
}
