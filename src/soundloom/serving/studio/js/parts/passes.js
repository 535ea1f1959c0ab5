/** Passes: jobs that are queued one after the other, each on the result of the one before. They go on after a reload. */

import { api, ApiError } from "../net/api.js";
import { keepSession } from "../state/storage.js";
import { words } from "../strings-editor.js";
import { fill, h, icon, keyed } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Passes} Passes */
/** @typedef {import("../types.js").Job} Job */

/**
 * Queue the passes, and say how far they are.
 * @param {Store} store
 * @param {Controls} controls
 */
export function passList(store, controls) {
  const line = new Line(store, controls);
  const list = h("div", { class: "column details small", role: "status" });
  store.watch((state) => [state.passes], (passes) => {
    const last = passes.at(-1);
    keepSession({ passes, ...(last?.job ? { job: last.job, before: last.before } : {}) });
  });
  store.watch((state) => [state.connection], () => line.tryAgain());
  store.watch((state) => [state.passes, state.jobs, state.connection], (passes, jobs) => {
    for (const one of passes) void line.step(one, jobs[one.job]);
    keyed(list, passes, keyOf, () => h("p", { class: "row" }), (element, one) => line.show(element, one, jobs[one.job]));
    list.hidden = passes.length === 0;
  });
  return list;
}

/** @param {Passes} passes */
const keyOf = (passes) => passes.keys[0];

/** Whether a job ended without its take. @param {Job | undefined} job */
const isOver = (job) => job !== undefined && (["failed", "canceled"].includes(job.state) || (job.state === "succeeded" && !job.items[0].take));

class Line {
  /**
   * @param {Store} store
   * @param {Controls} controls
   */
  constructor(store, controls) {
    this.store = store;
    this.controls = controls;
    /** @type {Map<string, "asking" | "refused" | "gone">} what became of questions, by the key of a pass or by a job */
    this.asked = new Map();
  }

  tryAgain() {
    for (const [name, state] of this.asked) if (state === "refused") this.asked.delete(name);
  }

  /**
   * Queue what comes next, if it is its turn.
   * @param {Passes} passes
   * @param {Job | undefined} job the last one that was queued
   */
  async step(passes, job) {
    const { at, bodies } = passes;
    if (this.store.state.connection !== "open") return;
    if (at < 0) return this._queue(passes, bodies[0]);
    if (!job) return this._find(passes);
    const take = job.state === "succeeded" ? job.items[0].take : null;
    const isLast = at === bodies.length - 1;
    if (isLast && (take || isOver(job))) this._set(passes, null);
    else if (take) await this._queue(passes, { ...bodies[at + 1], source: take, parent: take });
  }

  /**
   * @param {Passes} passes
   * @param {Record<string, any>} body
   */
  async _queue(passes, body) {
    const key = passes.keys[passes.at + 1];
    if (this.asked.has(key)) return;
    this.asked.set(key, "asking");
    const job = await this.controls.attempt(() => api.submit(body, key));
    if (!job) return this._found(key, "refused");
    const { candidates } = this.store.state;
    this.store.send({ type: "job", job });
    if (passes.at < 0 || !candidates || candidates.job === passes.job) {
      this.store.send({ type: "candidates", candidates: { job: job.id, focus: 0, before: passes.before } });
    }
    this._set(passes, { ...passes, at: passes.at + 1, job: job.id });
  }

  /** Ask for a job that is not among the last ones. @param {Passes} passes */
  async _find({ job }) {
    if (this.asked.has(job)) return;
    this.asked.set(job, "asking");
    try {
      this.store.send({ type: "job", job: await api.job(job) });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this._found(job, error.status === 404 ? "gone" : "refused");
    }
  }

  /** @param {string} name @param {"refused" | "gone"} state */
  _found(name, state) {
    this.asked.set(name, state);
    this.store.send({ type: "passes", passes: [...this.store.state.passes] }); // shown anew
  }

  /**
   * @param {Passes} passes
   * @param {Passes | null} next null: they are done
   */
  _set(passes, next) {
    const others = this.store.state.passes;
    const found = others.flatMap((one) => (keyOf(one) !== keyOf(passes) ? [one] : next ? [next] : []));
    this.store.send({ type: "passes", passes: found });
  }

  /**
   * @param {HTMLElement} element
   * @param {Passes} passes
   * @param {Job | undefined} job
   */
  show(element, passes, job) {
    const { at, bodies, keys } = passes;
    const isRefused = this.asked.get(keys[at + 1]) === "refused";
    const isGone = this.asked.get(passes.job) === "gone" || (job?.state === "succeeded" && isOver(job));
    const state = isGone ? "gone" : isOver(job) ? "stopped" : isRefused ? "refused" : "made";
    const key = `${state} ${at}`;
    if (element.dataset.shown === key) return;
    element.dataset.shown = key;
    const retry = () => {
      if (state === "stopped") return this.controls.retry(passes.job);
      this.tryAgain();
      return this.step(passes, job);
    };
    const button = (/** @type {string} */ text, /** @type {() => unknown} */ act) => h("button", { type: "button", onclick: () => void act() }, text);
    const isFine = state === "made";
    fill(element, icon(isFine ? "queue" : "warning"),
      h("span", { class: isFine ? "soft" : "warn" }, words.passes[state](Math.max(0, at) + 1 + Number(isRefused && at >= 0), bodies.length)),
      !isFine && !isGone && button(words.passes.again, retry),
      !isFine && button(words.passes.leave, () => this._set(passes, null)));
  }
}
