/** Turn the words, the take and its regions into the body of a job. Pure. */

import { openTake, place, usedModel } from "./actions.js";

/** @typedef {import("../types.js").State} State */

const MAX_REGIONS = 32;

/** @type {Record<string, string>} */
const KINDS = { make: "generate", vary: "vary", remake: "inpaint", extend: "extend", loop: "loop", edit: "edit" };

/**
 * Return the body of POST /v1/jobs.
 * @param {State} state
 * @returns {Record<string, any>}
 */
export function jobBody(state) {
  const { words, model } = state;
  const loras = words.loras.filter((lora) => lora.on).map(({ name, strength }) => ({ name, strength }));
  /** @type {Record<string, any>} */
  const body = { kind: kindOf(state), model, request: request(state), count: words.count };
  if (loras.length > 0) body.loras = loras;
  if (needsSource(state)) body.source = body.parent = place(state).take;
  return body;
}

/**
 * Why the main button cannot be pressed, as the name of a string, or null if it can.
 * @param {State} state
 * @returns {"connection" | "model" | "prompt" | "source" | "missing" | "regions" | "extend" | null}
 */
export function obstacle(state) {
  const { words } = state;
  if (state.connection === "lost" || state.connection === "login") return "connection";
  if (usedModel(state)?.installed === false) return "model";
  if (!words.prompt.trim() && words.mode === "make") return "prompt";
  if (!needsSource(state)) return null;
  const take = openTake(state);
  if (!take) return "source";
  if (take.audio.missing) return "missing";
  const { regions } = place(state);
  if (words.mode === "remake" && (regions.length === 0 || regions.length > MAX_REGIONS)) return "regions";
  if (words.mode === "extend" && words.before <= 0 && words.after <= 0) return "extend";
  return null;
}

/**
 * Whether the mode changes the take in the editor.
 * @param {State} state
 */
export function needsSource(state) {
  return state.words.mode !== "make";
}

/** @param {State} state */
function kindOf(state) {
  const { words } = state;
  return words.mode === "make" && words.loop ? "loop" : KINDS[words.mode];
}

/**
 * @param {State} state
 * @returns {Record<string, any>}
 */
function request(state) {
  const { words } = state;
  const take = needsSource(state) ? openTake(state) : null;
  /** @type {Record<string, any>} */
  const found = { prompt: words.prompt.trim() };
  if (words.negative.trim()) found.negative_prompt = words.negative.trim();
  if (words.seed !== null) found.seed = words.seed;
  if (words.steps !== null) found.steps = words.steps;
  if (words.sampler !== null) found.sampler = words.sampler;
  if (words.guidance !== null) found.guidance = { scale: words.guidance };
  if (words.mode === "make") {
    if (words.bars !== null) {
      found.bars = words.bars;
      if (words.bpm !== null) found.bpm = words.bpm;
    } else {
      found.seconds = words.seconds;
    }
  }
  if (words.mode === "vary") found.noise = words.noise;
  if (take && words.mode === "remake") {
    const { rate } = take.audio;
    found.regions = place(state).regions.map(({ start, end }) => [start / rate, end / rate]);
    found.crossfade = words.crossfade;
  }
  if (take && words.mode === "extend") {
    if (words.before > 0) found.offset = words.before;
    found.seconds = take.audio.seconds + words.before + words.after;
    found.crossfade = words.crossfade;
  }
  return found;
}
