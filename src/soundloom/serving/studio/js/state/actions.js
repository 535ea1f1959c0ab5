/** The state of the page, and all that can change it. Pure: no network, no elements, no time. */

import { change, current, plant, redo, undo } from "./history.js";

/** @typedef {import("../types.js").State} State */
/** @typedef {import("../types.js").Words} Words */
/** @typedef {import("../types.js").Place} Place */

/**
 * @typedef {{type: "connection", value: State["connection"]}
 *   | {type: "screen", value: State["screen"]}
 *   | {type: "drawer", value: State["drawer"]}
 *   | {type: "system", system: import("../types.js").System}
 *   | {type: "models", models: import("../types.js").Model[]}
 *   | {type: "model", name: string}
 *   | {type: "jobs", jobs: import("../types.js").Job[]}
 *   | {type: "job", job: import("../types.js").Job}
 *   | {type: "progress", job: string, progress: import("../types.js").Progress}
 *   | {type: "forget-job", job: string}
 *   | {type: "takes", takes: import("../types.js").Take[]}
 *   | {type: "words", words: Partial<Words>}
 *   | {type: "place", place: Partial<Place>, merge?: boolean}
 *   | {type: "open", take: string | null}
 *   | {type: "undo"} | {type: "redo"}
 *   | {type: "compare", take: string | null}
 *   | {type: "candidates", candidates: import("../types.js").Candidates | null}
 *   | {type: "passes", passes: State["passes"]}
 *   | {type: "focus", focus: number}
 *   | {type: "listening", listening: Partial<State["listening"]>}
 *   | {type: "measure", take: string, measure: import("../types.js").Measure | null}
 *   | {type: "grid", take: string, grid: Partial<import("../types.js").Grid>}
 *   | {type: "blind", blind: State["blind"]}
 *   | {type: "view", view: Partial<import("../types.js").ViewState>}
 *   | {type: "comparison", take: string, comparison: import("../types.js").Comparison}
 *   | {type: "check", check: import("../types.js").Check | null, refusal?: State["refusal"]}
 *   | {type: "reading", reading: State["reading"]}
 *   | {type: "prompts", prompts: State["prompts"]}
 *   | {type: "loras", loras: State["loras"]}
 *   | {type: "recall", words: Partial<Words>, model: string, place: Partial<Place> | null}
 *   | {type: "library", library: Partial<State["library"]>}
 *   | {type: "toast", toast: State["toast"]}
 *   | {type: "problem", problem: State["problem"]}
 *   | {type: "settings", settings: Partial<State["settings"]>}
 * } Action
 */

export const FIRST_PROMPT = "kick drum loop, 120 BPM";

/** @type {Words} */
export const FIRST_WORDS = {
  mode: "make",
  prompt: FIRST_PROMPT,
  negative: "",
  seconds: 4,
  bars: null,
  bpm: null,
  count: 4,
  countChosen: false,
  seed: null,
  noise: 0.6,
  regionNoise: 1,
  steps: null,
  sampler: null,
  guidance: null,
  apg: null,
  crossfade: 0.01,
  loop: false,
  seam: null,
  before: 0,
  after: 2,
  promptB: "",
  mix: 0.5,
  padding: null,
  temperature: null,
  topK: null,
  loras: [],
};

/**
 * @param {State["settings"]} settings
 * @returns {State}
 */
export function firstState(settings) {
  return {
    connection: "connecting",
    screen: "studio",
    drawer: null,
    system: null,
    models: [],
    model: "",
    jobs: {},
    takes: {},
    words: FIRST_WORDS,
    undo: plant({ take: null, regions: [], selection: null }),
    compare: null,
    candidates: null,
    passes: [],
    listening: {
      before: [], playing: false, loop: false, brace: null, side: "b", matched: true, volume: 1, speed: 1, metronome: false, difference: false, preview: null,
    },
    measures: {},
    grids: {},
    blind: null,
    view: { zoom: null, width: 800, layers: "wave", unit: "seconds" },
    comparisons: {},
    check: null,
    refusal: null,
    reading: null,
    prompts: null,
    loras: [],
    library: { query: "", order: "newest", deleted: false, count: null, pages: {}, chosen: new Set(), anchor: null, changes: 0 },
    toast: null,
    problem: null,
    settings,
  };
}

/**
 * @param {State} state
 * @param {Action} action
 * @returns {State}
 */
export function reduce(state, action) {
  switch (action.type) {
    case "connection":
      return state.connection === action.value ? state : { ...state, connection: action.value };
    case "screen":
      return { ...state, screen: action.value, drawer: null };
    case "drawer":
      return { ...state, drawer: action.value };
    case "system":
      return { ...state, system: action.system, model: state.model || action.system.model };
    case "models":
      return { ...state, models: action.models };
    case "model":
      return { ...state, model: action.name };
    case "jobs":
      return { ...state, jobs: Object.fromEntries(action.jobs.map((job) => [job.id, job])) };
    case "job":
      return { ...state, jobs: { ...state.jobs, [action.job.id]: action.job } };
    case "progress":
      return withProgress(state, action.job, action.progress);
    case "forget-job": {
      const { [action.job]: _, ...jobs } = state.jobs;
      return { ...state, jobs };
    }
    case "takes":
      return { ...state, takes: { ...state.takes, ...Object.fromEntries(action.takes.map((take) => [take.id, take])) } };
    case "words":
      return { ...state, words: { ...state.words, ...action.words } };
    case "place":
      return withPlace(state, { ...place(state), ...action.place }, action.merge);
    case "open":
      return opened(state, action.take);
    case "undo":
      return moved(state, undo(state.undo));
    case "redo":
      return moved(state, redo(state.undo));
    case "compare":
      return { ...state, compare: action.take };
    case "candidates":
      return { ...state, candidates: action.candidates, drawer: null };
    case "passes":
      return { ...state, passes: action.passes };
    case "focus":
      return state.candidates ? { ...state, candidates: { ...state.candidates, focus: action.focus } } : state;
    case "listening":
      return { ...state, listening: { ...state.listening, ...action.listening } };
    case "measure":
      return { ...state, measures: { ...state.measures, [action.take]: action.measure } };
    case "grid":
      return { ...state, grids: { ...state.grids, [action.take]: { ...state.grids[action.take], ...action.grid } } };
    case "blind":
      return { ...state, blind: action.blind };
    case "view":
      return { ...state, view: { ...state.view, ...action.view } };
    case "comparison":
      return { ...state, comparisons: { ...state.comparisons, [action.take]: action.comparison } };
    case "check":
      return { ...state, check: action.check, refusal: action.refusal ?? null };
    case "reading":
      return { ...state, reading: action.reading };
    case "prompts":
      return { ...state, prompts: action.prompts };
    case "loras":
      return { ...state, loras: action.loras };
    case "library":
      return { ...state, library: { ...state.library, ...action.library } };
    case "toast":
      return { ...state, toast: action.toast };
    case "recall": {
      const next = { ...state, words: { ...state.words, ...action.words }, model: action.model || state.model };
      return action.place ? withPlace(next, { ...place(next), ...action.place }) : next;
    }
    case "problem":
      return { ...state, problem: action.problem };
    case "settings":
      return { ...state, settings: { ...state.settings, ...action.settings } };
  }
}

/**
 * What is in the editor.
 * @param {State} state
 * @returns {Place}
 */
export function place(state) {
  return current(state.undo);
}

/**
 * @param {State} state
 * @returns {import("../types.js").Take | null}
 */
export function openTake(state) {
  const { take } = place(state);
  return take ? (state.takes[take] ?? null) : null;
}

/**
 * The takes of the candidates that are finished, with the numbers of their items.
 * @param {State} state
 * @returns {{number: number, take: string}[]}
 */
export function candidateTakes(state) {
  const job = state.candidates ? state.jobs[state.candidates.job] : null;
  return (job?.items ?? []).flatMap((item) => (item.take ? [{ number: item.number, take: item.take }] : []));
}

/**
 * @param {State} state
 * @returns {import("../types.js").Model | null}
 */
export function usedModel(state) {
  return state.models.find((model) => model.id === state.model) ?? null;
}

/**
 * @param {State} state
 * @param {string} id
 * @param {import("../types.js").Progress} progress
 */
function withProgress(state, id, progress) {
  const job = state.jobs[id];
  return job ? { ...state, jobs: { ...state.jobs, [id]: { ...job, progress } } } : state;
}

/**
 * @param {State} state
 * @param {Place} next
 * @param {boolean} [merge]
 */
function withPlace(state, next, merge = false) {
  return { ...state, undo: change(state.undo, next, merge) };
}

/**
 * Go to another place of the undo tree; what plays goes along.
 * @param {State} state
 * @param {State["undo"]} next
 */
function moved(state, next) {
  const found = { ...state, undo: next };
  const same = place(found).take === place(state).take;
  return same ? found : { ...found, listening: { ...state.listening, before: [], brace: null, preview: null } };
}

/**
 * Open a take: the one before is what it is compared with. Regions lie on one take, so they go.
 * @param {State} state
 * @param {string | null} take
 */
function opened(state, take) {
  const before = place(state).take;
  if (take === before) return state;
  const listening = { ...state.listening, before: [], brace: null, preview: null, side: /** @type {const} */ ("b") };
  return { ...withPlace(state, { take, regions: [], selection: null }), compare: before, listening };
}
