/** Tempo, key and loudness of the take in the editor: what was asked for, and what was measured. */

import { openTake } from "../state/actions.js";
import { tempoOf } from "../state/tempo.js";
import { t } from "../strings.js";
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
  if (tempo.from === "measured") return t.facts.bpm(round(tempo.bpm)) + t.facts.measured + unsure;
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
  const menu = popover(t.facts.label, face, async () => (await import("./listening.js")).tempoOptions(store, player, controls));
  menu.button.className = "plain facts small";
  menu.button.removeAttribute("aria-label");
  store.watch((state) => [tempoText(state), keyText(state.measures[openTake(state)?.id ?? ""]), openTake(state)], (tempo, key, take) => {
    menu.button.hidden = !take;
    fill(face, [tempo, key].filter(Boolean).join(" · ") || t.facts.measuring);
  });
  return h("div", {}, menu.button, menu.panel);
}

/** A tempo to read: "120", "119.8". @param {number} bpm */
export function round(bpm) {
  return String(Math.round(bpm * 10) / 10);
}
