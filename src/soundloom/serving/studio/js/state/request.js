/** Turn the words, the take and its regions into the body of a job, and takes back into words. Pure. */

import { FIRST_WORDS, openTake, place, usedModel } from "./actions.js";

/** @typedef {import("../types.js").State} State */
/** @typedef {import("../types.js").Take} Take */
/** @typedef {import("../types.js").Words} Words */
/** @typedef {import("../types.js").Mode} Mode */

const MAX_REGIONS = 32;

/** @type {Record<Mode, string>} */
const KINDS = { make: "generate", vary: "vary", remake: "inpaint", extend: "extend", loop: "loop", edit: "edit" };

/** @type {Record<string, Mode>} */
const MODES = { generate: "make", vary: "vary", inpaint: "remake", extend: "extend", loop: "make", edit: "edit" };

/**
 * The regions by their words, in order: each group is made in a pass of its own.
 * @param {State} state
 * @returns {{prompt: string, regions: import("../types.js").Span[]}[]} one group but for regions with words of their own
 */
export function passesOf(state) {
  const { regions } = place(state);
  const standard = state.words.prompt.trim();
  if (state.words.mode !== "remake") return [{ prompt: standard, regions }];
  /** @type {ReturnType<typeof passesOf>} */
  const passes = [];
  for (const region of regions) {
    const prompt = region.words?.trim() || standard;
    const same = passes.find((one) => one.prompt === prompt);
    if (same) same.regions.push(region);
    else passes.push({ prompt, regions: [region] });
  }
  return passes.length > 0 ? passes : [{ prompt: standard, regions }];
}

/**
 * The bodies of POST /v1/jobs, one for each pass; of several passes, each makes one take.
 * @param {State} state
 */
export function jobBodies(state) {
  const passes = passesOf(state);
  const count = passes.length > 1 ? 1 : state.words.count;
  return passes.map(({ prompt, regions }) => jobBody({ ...state, words: { ...state.words, prompt, count } }, regions));
}

/**
 * Return the body of POST /v1/jobs.
 * @param {State} state
 * @param {import("../types.js").Span[]} [regions]
 * @returns {Record<string, any>}
 */
export function jobBody(state, regions = place(state).regions) {
  const { words, model } = state;
  /** @type {Record<string, any>} */
  const body = { kind: KINDS[words.mode], model, request: request(state, regions), count: words.count };
  const loras = usesLoras(state) ? words.loras.filter((lora) => lora.on) : [];
  if (loras.length > 0) {
    body.loras = loras.map(({ name, strength, sigma }) => ({ name, strength, ...(sigma[0] > 0 || sigma[1] < 1 ? { sigma } : {}) }));
  }
  if (needsSource(state)) body.source = body.parent = place(state).take;
  return body;
}

/**
 * Why the main button cannot be pressed, as the name of a string, or null if it can.
 * @param {State} state
 * @returns {"connection" | "model" | "mode" | "prompt" | "tempo" | "source" | "missing" | "regions" | "extend" | "wording" | null}
 */
export function obstacle(state) {
  const { words } = state;
  if (state.connection === "lost" || state.connection === "login") return "connection";
  const model = usedModel(state);
  if (model?.installed === false) return "model";
  if (model && !model.modes.includes(KINDS[words.mode])) return "mode";
  if (!words.prompt.trim() && (words.mode === "make" || words.mode === "edit")) return "prompt";
  if (state.reading?.problem) return "wording";
  if (words.mode === "make" && words.bars !== null && words.bpm === null && state.reading && state.reading.bpm === null) return "tempo";
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

/**
 * The models that can do what the mode asks for, those that are here first.
 * @param {State} state
 * @param {Mode} mode
 */
export function modelsFor(state, mode) {
  const able = state.models.filter((model) => model.modes.includes(KINDS[mode]));
  return [...able.filter((model) => model.installed), ...able.filter((model) => !model.installed)];
}

/** @param {State} state */
function usesLoras(state) {
  return usedModel(state)?.music !== true;
}

/**
 * @param {State} state
 * @param {import("../types.js").Span[]} regions
 * @returns {Record<string, any>}
 */
function request(state, regions) {
  const { words } = state;
  /** @type {Record<string, any>} */
  const found = { prompt: words.prompt.trim() };
  if (words.seed !== null) found.seed = words.seed;
  if (usedModel(state)?.music) addTokenSampling(found, words);
  else addSampling(found, words, usedModel(state)?.distilled !== false);
  if (words.mode === "make") addLength(found, words, usedModel(state)?.music === true);
  if (words.mode === "vary") found.noise = words.noise;
  if (words.mode === "loop" && words.seam !== null) found.seam = words.seam;
  const take = needsSource(state) ? openTake(state) : null;
  if (take && words.mode === "remake") {
    const { rate } = take.audio;
    found.regions = regions.map(({ start, end }) => [start / rate, end / rate]);
    found.crossfade = words.crossfade;
    if (words.regionNoise < 1) found.noise = words.regionNoise;
  }
  if (take && words.mode === "extend") {
    if (words.before > 0) found.offset = words.before;
    found.seconds = take.audio.seconds + words.before + words.after;
    found.crossfade = words.crossfade;
  }
  return found;
}

/**
 * @param {Record<string, any>} found
 * @param {Words} words
 * @param {boolean} distilled such models follow neither guidance nor a negative prompt
 */
function addSampling(found, words, distilled) {
  if (words.steps !== null) found.steps = words.steps;
  if (words.sampler !== null) found.sampler = words.sampler;
  if (words.padding !== null) found.duration_padding = words.padding;
  if (words.promptB.trim()) Object.assign(found, { prompt_b: words.promptB.trim(), mix: words.mix });
  if (distilled) return;
  if (words.negative.trim()) found.negative_prompt = words.negative.trim();
  if (words.guidance !== null) found.guidance = { scale: words.guidance, ...(words.apg === null ? {} : { apg: words.apg }) };
}

/**
 * @param {Record<string, any>} found
 * @param {Words} words
 */
function addTokenSampling(found, words) {
  if (words.guidance !== null) found.guidance = words.guidance;
  if (words.temperature !== null) found.temperature = words.temperature;
  if (words.topK !== null) found.top_k = words.topK;
}

/**
 * @param {Record<string, any>} found
 * @param {Words} words
 * @param {boolean} music such models know neither bars nor loops
 */
function addLength(found, words, music) {
  if (words.bars === null || music) found.seconds = words.seconds;
  else found.bars = words.bars;
  if (words.bars !== null && words.bpm !== null && !music) found.bpm = words.bpm;
  if (!words.loop || music) return;
  found.loop = true;
  if (words.seam !== null) found.seam = words.seam;
}

/**
 * The job that makes more takes like one, with seeds of their own; null for one that no model made.
 * @param {Take} take
 * @param {number} count
 * @returns {Record<string, any> | null}
 */
export function againBody(take, count) {
  const { request: recorded, model } = take.record;
  if (!recorded || !model || !(take.kind in MODES)) return null;
  const { seed: _, loras, ...rest } = recorded;
  /** @type {Record<string, any>} */
  const body = { kind: take.kind, model, request: rest, count };
  if (loras?.uses?.length) {
    body.loras = loras.uses;
    if (loras.combine) body.lora_combine = loras.combine;
    if (loras.seconds) body.lora_seconds = loras.seconds;
  }
  if (take.kind !== "generate") body.source = body.parent = take.parent;
  return body;
}

/**
 * The words and settings that made a take, and the regions in samples of its source.
 * @param {Take} take
 * @param {import("../types.js").Model | null} model the one that made it
 * @returns {{words: Partial<Words>, regions: import("../types.js").Span[]} | null} null for one that no model made
 */
export function recalled(take, model) {
  const found = take.record.request;
  if (!found || !(take.kind in MODES)) return null;
  const { rate } = take.audio;
  const mode = MODES[take.kind];
  const usual = (/** @type {any} */ value, /** @type {any} */ standard) => (value === undefined || value === standard ? null : value);
  const guidance = typeof found.guidance === "number" ? found.guidance : found.guidance && (found.guidance.scale ?? 1);
  const noise = found.noise ?? 1;
  const before = found.offset ?? 0;
  /** @type {Partial<Words>} */
  const words = {
    ...FIRST_WORDS,
    mode,
    prompt: String(found.prompt ?? ""),
    negative: found.negative_prompt ?? "",
    seconds: found.seconds ?? take.audio.seconds,
    bars: found.bars ?? null,
    bpm: (found.bars ?? null) === null ? null : (found.bpm ?? null),
    seed: found.seed ?? take.record.seed ?? null,
    steps: usual(found.steps, model?.steps),
    sampler: usual(found.sampler, model?.sampler),
    guidance: usual(guidance, model?.guidance),
    apg: found.guidance?.apg ?? null,
    crossfade: found.crossfade ?? FIRST_WORDS.crossfade,
    loop: found.loop === true,
    seam: found.seam ?? null,
    before,
    promptB: found.prompt_b ?? "",
    mix: typeof found.mix === "number" ? found.mix : FIRST_WORDS.mix,
    padding: found.duration_padding ?? null,
    temperature: usual(found.temperature, 1),
    topK: found.top_k ?? null,
    loras: (found.loras?.uses ?? []).map((/** @type {any} */ use) => (
      { name: use.name, strength: use.strength ?? 1, on: true, sigma: use.sigma ?? [0, 1] })),
    count: 1,
    countChosen: true,
    ...(mode === "vary" ? { noise } : { regionNoise: noise }),
  };
  const regions = (found.regions ?? []).map((/** @type {number[]} */ [start, end]) =>
    ({ start: Math.round(start * rate), end: Math.round(end * rate) }));
  return { words, regions };
}

/**
 * How long an extension was, on both sides of its source.
 * @param {Take} take
 * @param {Take} source
 */
export function added(take, source) {
  const before = take.record.request?.offset ?? 0;
  return { before, after: Math.max(0, Math.round((take.audio.seconds - source.audio.seconds - before) * 1000) / 1000) };
}

/**
 * Whether two takes were made by the same request, but for their adapters.
 * @param {Take} take
 * @param {Take} other
 */
export function differOnlyInLoras(take, other) {
  const bare = (/** @type {Take} */ one) => JSON.stringify({ ...one.record.request, loras: null, model: one.record.model, parent: one.parent });
  return take.id !== other.id && bare(take) === bare(other) && !other.record.request?.loras?.uses?.length;
}
