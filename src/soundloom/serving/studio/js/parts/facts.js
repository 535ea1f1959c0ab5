/** Tempo, key and loudness of the take in the editor: what was asked for, and what was measured. */

import { openTake } from "../state/actions.js";
import { askedTempo, gridOf, HIGHEST_BPM, LOWEST_BPM, tempoOf } from "../state/tempo.js";
import { decibels, t } from "../strings.js";
import { fill, h, popover } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../audio/player.js").Player} Player */
/** @typedef {import("../types.js").State} State */
/** @typedef {import("../types.js").Measure} Measure */

const SURE = 0.85; // confidence below which a label says "unsure"

/**
 * The tempo, as "120 BPM asked · 119.8 measured"; "–" is what could not be measured.
 * @param {State} state
 */
export function tempoText(state) {
  const take = openTake(state);
  const measure = take && state.measures[take.id];
  const tempo = take && tempoOf(state, take.id);
  if (!take || (!tempo && measure === undefined)) return "";
  const measured = measure?.tempo ? round(measure.tempo) : "–";
  const unsure = measure?.tempo && measure.tempo_confidence < SURE ? t.facts.unsure : "";
  if (!tempo) return t.facts.bpm("–");
  if (tempo.from === "measured") return t.facts.bpm(measured) + t.facts.measured + unsure;
  const first = t.facts.bpm(round(tempo.bpm)) + (tempo.from === "typed" ? t.facts.typed : t.facts.asked);
  return measure === undefined ? first : `${first} · ${measured}${t.facts.measured}${unsure}`;
}

/** @param {Measure | null | undefined} measure */
export function keyText(measure) {
  if (measure === undefined) return "";
  if (!measure?.key) return "";
  return measure.key + t.facts.measured + (measure.key_confidence < SURE ? t.facts.unsure : "");
}

/**
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 */
export function facts(store, player, controls) {
  const face = h("span", { class: "cut" });
  const menu = popover(t.facts.label, face, h("h2", {}, t.facts.label), tempoFields(store, player, controls), values(store));
  menu.button.className = "plain facts small";
  menu.button.removeAttribute("aria-label");
  store.watch((state) => [tempoText(state), keyText(state.measures[openTake(state)?.id ?? ""]), openTake(state)], (tempo, key, take) => {
    menu.button.hidden = !take;
    fill(face, [tempo, key].filter(Boolean).join(" · ") || t.facts.measuring);
  });
  return h("div", {}, menu.button, menu.panel);
}

/**
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 */
function tempoFields(store, player, controls) {
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
  const half = h("button", { type: "button", "aria-label": t.facts.half, title: t.facts.half, onclick: () => change(0.5) }, "÷2");
  const double = h("button", { type: "button", "aria-label": t.facts.double, title: t.facts.double, onclick: () => change(2) }, "×2");
  const first = h("button", { type: "button", onclick: () => controls.setGrid({ first: player.position }) }, t.facts.first);
  store.watch((state) => [gridOf(state)?.bpm, gridOf(state)?.beats], (tempo, count) => {
    if (document.activeElement !== bpm) bpm.value = tempo === undefined ? "" : String(round(tempo));
    if (document.activeElement !== beats) beats.value = String(count ?? 4);
    half.disabled = double.disabled = first.disabled = beats.disabled = tempo === undefined;
  });
  return [
    h("div", { class: "field" }, h("label", { htmlFor: "tempo" }, t.facts.tempo), h("div", { class: "row" }, bpm, half, double)),
    h("div", { class: "field" }, h("label", { htmlFor: "beats" }, t.facts.beats), h("div", { class: "row" }, beats)),
    h("div", { class: "row" }, h("button", { type: "button", onclick: () => controls.tap() }, t.facts.tap), first),
  ];
}

/** What was asked for and what was measured, as a list. @param {Store} store */
function values(store) {
  const list = h("dl", { class: "values" });
  store.watch((state) => [openTake(state), state.measures[openTake(state)?.id ?? ""]], (take, measure) => {
    const asked = take && askedTempo(take);
    const sure = (/** @type {number} */ confidence) => t.facts.sure(Math.round(100 * confidence));
    const rows = {
      [t.facts.tempoAsked]: asked ? t.facts.bpm(round(asked)) : "–",
      [t.facts.tempoMeasured]: measure?.tempo ? `${t.facts.bpm(round(measure.tempo))}, ${sure(measure.tempo_confidence)}` : "–",
      [t.facts.key]: measure?.key ? `${measure.key}, ${sure(measure.key_confidence)}` : "–",
      [t.facts.pitch]: measure?.pitch ? `${measure.pitch.toFixed(1)} Hz` : "–",
      [t.facts.loudness]: typeof measure?.loudness === "number" ? decibels(measure.loudness, "LUFS") : "–",
      [t.facts.peak]: typeof measure?.true_peak === "number" ? decibels(measure.true_peak) : "–",
    };
    fill(list, measure === undefined ? h("div", {}, t.facts.measuring) : Object.entries(rows).map(([name, value]) =>
      h("div", {}, h("dt", { class: "soft" }, name), h("dd", {}, value))));
  });
  return list;
}

/** A tempo to read: "120", "119.8". @param {number} bpm */
function round(bpm) {
  return String(Math.round(bpm * 10) / 10);
}
