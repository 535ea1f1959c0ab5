/** What the page can do: calls to the server and the player that actions alone cannot make. */

import { createListening } from "./listening.js";
import { createMaking, watchSession, watchWords } from "./making.js";
import { api, ApiError } from "./net/api.js";
import { candidateTakes } from "./state/actions.js";

/** @typedef {import("./net/events.js").Store} Store */
/** @typedef {import("./audio/player.js").Player} Player */
/** @typedef {import("./types.js").Take} Take */
/** @typedef {ReturnType<typeof createControls>} Controls */

/**
 * @param {Store} store
 * @param {Player} player
 * @param {() => void} reconnect
 */
export function createControls(store, player, reconnect) {
  /**
   * Run something that the server may refuse; say so if it does.
   * @template T
   * @param {() => Promise<T>} work
   * @returns {Promise<T | undefined>}
   */
  async function attempt(work) {
    try {
      const found = await work();
      store.send({ type: "problem", problem: null });
      return found;
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      const hint = error instanceof ApiError ? error.hint : "";
      store.send({ type: "problem", problem: { message: error.message, hint } });
      return undefined;
    }
  }

  /** @type {Map<string, Promise<Take>>} */
  const asking = new Map();

  /** @param {string} id */
  async function fetchTake(id) {
    const found = await api.take(id).finally(() => asking.delete(id));
    store.send({ type: "takes", takes: [found] });
    return found;
  }

  /** A take that may not be known yet; it is asked for once, however many want it. @param {string} id */
  async function take(id) {
    const found = store.state.takes[id] ?? asking.get(id) ?? fetchTake(id);
    if (found instanceof Promise) asking.set(id, found);
    return found;
  }

  const controls = {
    attempt,
    take,
    ...createListening(store, player, attempt),
    /** What keys do in the editor. @type {Map<import("./types.js").Command, () => void>} */
    commands: new Map(),
    /** What can be done to the take in the editor; null before there was one. @type {import("./editing.js").Editing | null} */
    editing: null,
    /** Take files in that were chosen; null before the page is shown. @type {((files: File[]) => void) | null} */
    receive: null,

    /** Ask which samples an edit kept. @param {string} id */
    compareWithParent: (id) =>
      attempt(async () => {
        if (!store.state.comparisons[id]) store.send({ type: "comparison", take: id, comparison: await api.comparison(id) });
      }),

    ...createMaking(store, attempt, take),

    /** @param {string} job */
    cancel: (job) => attempt(async () => store.send({ type: "job", job: await api.cancel(job) })),
    /** @param {string} job */
    retry: (job) => attempt(async () => store.send({ type: "job", job: await api.retry(job) })),

    /** Open a take in the editor. @param {string} id */
    open: (id) =>
      attempt(async () => {
        await take(id);
        store.send({ type: "open", take: id });
        store.send({ type: "screen", value: "studio" });
      }),

    /** Keep the candidate in focus: it becomes the take in the editor. */
    keep: () => {
      const { candidates } = store.state;
      const found = candidateTakes(store.state).find((one) => one.number === candidates?.focus);
      if (found) void controls.open(found.take);
    },

    /** Hide a take; the library has it among the deleted ones. @param {string} id */
    remove: (id) =>
      attempt(async () => {
        await api.deleteTake(id);
        store.send({ type: "takes", takes: [{ ...(await take(id)), deleted: Date.now() / 1000 }] });
      }),
    /** @param {string} id */
    restore: (id) => attempt(async () => store.send({ type: "takes", takes: [await api.restoreTake(id)] })),

    /** @param {string} id @param {Record<string, unknown>} values */
    changeTake: (id, values) =>
      attempt(async () => store.send({ type: "takes", takes: [await api.changeTake(id, values)] })),

    /** @param {string} token @returns {Promise<ApiError | null>} what the server has against it */
    login: async (token) => {
      try {
        await api.login(token);
        await api.system();
      } catch (error) {
        if (error instanceof ApiError) return error;
        throw error;
      }
      reconnect();
      return null;
    },
  };

  watchWords(store);
  watchSession(store);
  return controls;
}
