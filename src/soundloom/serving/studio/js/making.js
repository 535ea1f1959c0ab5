/** Make takes, ask the server about what is being written, and keep it for the next time. */

import { api, ApiError, newKey } from "./net/api.js";
import { candidateTakes, openTake, place } from "./state/actions.js";
import { added, againBody, differOnlyInLoras, jobBodies, jobBody, obstacle, recalled } from "./state/request.js";
import { keepPrompt, keepSession, readSession } from "./state/storage.js";

/** @typedef {import("./net/events.js").Store} Store */
/** @typedef {<T>(work: () => Promise<T>) => Promise<T | undefined>} Attempt */

const CHECK_MS = 250; // after the last change, before the server is asked
const LONG_SECONDS = 20; // of one take; then only one is made unless more are asked for
const COUNT = 4;

/**
 * What makes takes: what the main button says, again with other seeds, without adapters, as a loop.
 * @param {Store} store
 * @param {Attempt} attempt
 * @param {(id: string) => Promise<import("./types.js").Take>} take
 */
export function createMaking(store, attempt, take) {
  /** @param {Record<string, any>} body */
  const send = (body) =>
    attempt(async () => {
      const before = place(store.state).take;
      const job = await api.submit(body, newKey());
      store.send({ type: "job", job });
      store.send({ type: "candidates", candidates: { job: job.id, focus: 0, before } });
      if (!before) openFirst(store, take);
      return job;
    });

  return {
    /** Send what the main button says. */
    submit: async () => {
      if (obstacle(store.state)) return;
      keepPrompt(store.state.words.prompt);
      const bodies = jobBodies(store.state);
      const passes = { bodies, keys: bodies.map(newKey), at: -1, job: "", before: place(store.state).take };
      if (bodies.length > 1) store.send({ type: "passes", passes: [...store.state.passes, passes] }); // parts/passes.js queues them
      else await send(bodies[0]);
    },

    /** Make the take in the editor repeat without a break. */
    makeLoop: () => {
      const { state } = store;
      return send(jobBody({ ...state, words: { ...state.words, mode: "loop", prompt: openTake(state)?.prompt ?? "" } }));
    },

    /** The same words and settings again, with other seeds. @param {string | null} [id] by default the take in the editor */
    again: async (id = place(store.state).take) => {
      if (!id) return;
      const body = againBody(await take(id), store.state.words.countChosen ? store.state.words.count : 4);
      if (body) await send(body);
    },

    /**
     * Take over words and settings of a take, and open what it was made from.
     * @param {string} id @param {boolean} [again] with another seed
     */
    recall: (id, again = false) =>
      attempt(async () => {
        const found = await take(id);
        const name = found.record.model ?? "";
        const known = recalled(found, store.state.models.find((one) => one.id === name) ?? null);
        if (!known) return;
        if (again) known.words.seed = null;
        const source = found.parent && found.kind !== "generate" ? await take(found.parent) : null;
        const words = source && found.kind === "extend" ? { ...known.words, ...added(found, source) } : known.words;
        const model = store.state.models.some((one) => one.id === name) ? name : "";
        const target = source && !source.deleted ? { take: source.id, regions: known.regions, selection: null } : null;
        store.send({ type: "recall", words, model, place: target });
        store.send({ type: "screen", value: "studio" });
      }),

    /**
     * The take that has the words and the seed of the one in the editor, but no adapters.
     * @returns {import("./types.js").Take | null}
     */
    twin: () => {
      const open = openTake(store.state);
      return (open && Object.values(store.state.takes).find((one) => !one.deleted && differOnlyInLoras(open, one))) ?? null;
    },

    /** Make the take in the editor once more without its adapters. */
    makeWithout: async () => {
      const open = openTake(store.state);
      const body = open && againBody(open, 1);
      if (!body) return;
      const { loras: _, lora_combine: __, lora_seconds: ___, ...rest } = body;
      await send({ ...rest, request: { ...rest.request, seed: open.record.seed } });
    },

    /** @param {string} id @returns {Promise<import("./types.js").Recipe | undefined>} */
    recipe: (id) => attempt(() => api.recipe(id)),
  };
}

/**
 * Ask after each change, when the last one is `CHECK_MS` ago; only the last answer counts.
 * @template {unknown[]} V
 * @param {Store} store
 * @param {(state: Store["state"]) => readonly [...V]} select
 * @param {(signal: AbortSignal) => Promise<void>} ask
 */
function whenStill(store, select, ask) {
  let timer = 0;
  let asking = new AbortController();
  store.watch(select, () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      asking.abort();
      asking = new AbortController();
      const { signal } = asking;
      try {
        await ask(signal);
      } catch (error) {
        if (!(error instanceof ApiError) && !(error instanceof DOMException)) throw error;
      }
    }, CHECK_MS);
  });
}

/**
 * Put the first take that is finished into an empty editor.
 * @param {Store} store
 * @param {(id: string) => Promise<import("./types.js").Take>} take
 */
function openFirst(store, take) {
  const stop = store.watch((state) => [candidateTakes(state)[0]?.take ?? null, place(state).take], async (first, open) => {
    if (!first && !open) return;
    queueMicrotask(() => stop());
    if (!first || open) return;
    await take(first);
    if (!place(store.state).take) store.send({ type: "open", take: first });
  });
}

/** @param {Store} store */
export function watchWords(store) {
  let read = "";
  whenStill(store, (state) => [state.words, state.undo, state.model, state.models, state.connection], async (signal) => {
    const { words, model, connection } = store.state;
    if (connection !== "open" || !model) return store.send({ type: "check", check: null });
    const wanted = JSON.stringify([words.prompt, model]);
    if (read !== wanted) {
      const reading = await api.read(words.prompt, model);
      if (signal.aborted) return;
      read = wanted;
      store.send({ type: "reading", reading });
    }
    if (obstacle(store.state)) return store.send({ type: "check", check: null });
    try {
      const checks = await Promise.all(jobBodies(store.state).map((body) => api.check(body, signal)));
      if (!signal.aborted) answered(store, checks.reduce(together));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const refusal = error.status >= 400 && error.status < 500 ? { message: error.message, hint: error.hint } : null;
      store.send({ type: "check", check: null, refusal });
    }
  });
  store.watch((state) => [state.model, state.connection === "open"], (model, open) => void (open && model && drawPrompts(store)));
  store.watch((state) => [state.connection === "open"], async (open) => {
    if (!open) return;
    try {
      store.send({ type: "loras", loras: await api.loras() });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  });
}

/**
 * Draw new prompts for the model.
 * @param {Store} store
 */
export async function drawPrompts(store) {
  const { model } = store.state;
  try {
    const prompts = await api.prompts(model);
    if (store.state.model === model) store.send({ type: "prompts", prompts });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    store.send({ type: "prompts", prompts: null });
  }
}

/**
 * What the server says about two jobs, one after the other.
 * @param {import("./types.js").Check} one
 * @param {import("./types.js").Check} other
 * @returns {import("./types.js").Check}
 */
function together(one, other) {
  const estimated_seconds = one.estimated_seconds + other.estimated_seconds;
  return { ...one, clips: [...one.clips, ...other.clips], passes: one.passes + other.passes, estimated_seconds };
}

/**
 * @param {Store} store
 * @param {import("./types.js").Check} check
 */
function answered(store, check) {
  store.send({ type: "check", check });
  const { count, countChosen } = store.state.words;
  const wanted = check.estimated_seconds / Math.max(1, check.clips.length) > LONG_SECONDS ? 1 : COUNT;
  if (!countChosen && count !== wanted) store.send({ type: "words", words: { count: wanted } });
}

/**
 * Keep what a reload must not lose, and bring back the take and the candidates of the last time.
 * @param {Store} store
 */
export function watchSession(store) {
  const { take, job, before } = readSession();
  let timer = 0;
  let returned = false;
  store.watch((state) => [state.words, state.model, place(state).take, state.candidates], (words, model, open, candidates) => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (returned) keepSession({ words, model, take: open, job: candidates?.job ?? null, before: candidates?.before ?? null });
    }, CHECK_MS);
  });
  const stop = store.watch((state) => [state.connection === "open"], async (open) => {
    if (!open || returned) return;
    returned = true;
    queueMicrotask(() => stop());
    await Promise.all([take && bringTake(store, take), job && bringJob(store, job, before ?? null)]);
  });
}

/**
 * @param {Store} store
 * @param {string} id
 */
async function bringTake(store, id) {
  try {
    const take = await api.take(id);
    if (take.deleted || place(store.state).take) return;
    store.send({ type: "takes", takes: [take] });
    store.send({ type: "open", take: id });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error; // it is gone
  }
}

/**
 * @param {Store} store
 * @param {string} id
 * @param {string | null} before
 */
async function bringJob(store, id, before) {
  try {
    const job = await api.job(id);
    store.send({ type: "job", job });
    if (!store.state.candidates) store.send({ type: "candidates", candidates: { job: id, focus: 0, before } });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}
