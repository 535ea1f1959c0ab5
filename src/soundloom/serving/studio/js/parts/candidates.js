/** The takes of the last job: hear them in place of the one in the editor, and keep one. */

import { candidateTakes, place } from "../state/actions.js";
import { t } from "../strings.js";
import { fill, h, icon, keyed } from "./element.js";
import { thumbnail } from "../view/thumbnail.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Item} Item */
/** @typedef {import("../types.js").Job} Job */

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function candidates(store, controls) {
  const list = h("ol", { class: "strip", onkeydown: (/** @type {KeyboardEvent} */ event) => keys(event, store, controls) });
  const hint = h("p", { class: "soft small hint" }, t.candidates.hint);
  const none = h("p", { class: "soft" }, t.candidates.none);
  const cards = new Cards(store, controls);
  store.watch(
    (state) => [state.candidates, state.candidates ? state.jobs[state.candidates.job] : null, state.takes, place(state).take],
    (found, job, takes, open) => {
      const items = (job?.items ?? []).filter((item) => !item.take || !takes[item.take]?.deleted);
      none.hidden = items.length > 0;
      hint.hidden = items.length === 0;
      keyed(list, items, (item) => `${job?.id}-${item.number}`, (item) => cards.make(item), (element, item) =>
        cards.update(element, item, /** @type {Job} */ (job), item.number === found?.focus, item.take === open));
    },
  );
  return h("section", { class: "panel candidates", "aria-label": t.candidates.label },
    h("div", { class: "row" }, h("h2", {}, t.candidates.label), hint), none, list);
}

/** The cards of the strip. */
class Cards {
  /**
   * @param {Store} store
   * @param {Controls} controls
   */
  constructor(store, controls) {
    this.store = store;
    this.controls = controls;
  }

  /** @param {Item} item */
  make(item) {
    const button = h("button", { type: "button", class: "card", onclick: () => this._listen(item.number) });
    return h("li", { "data-number": item.number }, button);
  }

  /**
   * @param {HTMLElement} element
   * @param {Item} item
   * @param {Job} job
   * @param {boolean} focused
   * @param {boolean} open
   */
  update(element, item, job, focused, open) {
    const button = /** @type {HTMLButtonElement} */ (element.firstElementChild);
    button.setAttribute("aria-current", String(focused));
    button.tabIndex = focused ? 0 : -1;
    const key = `${item.state} ${item.take} ${open}`;
    if (item.state === "running" || item.state === "queued") fill(button, waiting(item, job));
    else if (button.dataset.shown !== key) fill(button, this._finished(item, job, open));
    button.dataset.shown = key;
  }

  /**
   * @param {Item} item
   * @param {Job} job
   * @param {boolean} open
   */
  _finished(item, job, open) {
    const take = item.take ? this.store.state.takes[item.take] : null;
    const name = t.candidates.take(item.number + 1, job.items.length);
    if (!item.take) {
      return [h("span", { class: "bad" }, icon("warning"), item.error?.message ?? item.state), h("span", { class: "soft small" }, item.error?.hint ?? "")];
    }
    const warnings = take?.record.warnings ?? [];
    return [
      thumbnail(item.take),
      h("span", { class: "row small" }, h("span", {}, name), h("span", { class: "soft number" }, String(item.seed ?? "")), open && icon("check")),
      warnings.map((/** @type {string} */ text) => h("span", { class: "warn small" }, text)),
    ];
  }

  /** @param {number} number */
  _listen(number) {
    this.store.send({ type: "focus", focus: number });
    const found = candidateTakes(this.store.state).find((one) => one.number === number);
    if (found) void this.controls.listen(found.take);
  }
}

/**
 * @param {Item} item
 * @param {Job} job
 */
function waiting(item, job) {
  const progress = item.state === "running" ? job.progress : null;
  return [
    h("progress", progress?.fraction === undefined ? { "aria-label": t.candidates.waiting } : { value: progress.fraction, "aria-label": t.candidates.waiting }),
    h("span", { class: "soft small" }, progress?.seconds_left === undefined ? t.candidates.waiting : t.about(progress.seconds_left)),
  ];
}

/**
 * @param {KeyboardEvent} event
 * @param {Store} store
 * @param {Controls} controls
 */
function keys(event, store, controls) {
  const takes = candidateTakes(store.state);
  const at = takes.findIndex((one) => one.number === store.state.candidates?.focus);
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (step && takes.length > 0) {
    event.preventDefault();
    const next = takes[Math.max(0, Math.min(takes.length - 1, at + step))];
    store.send({ type: "focus", focus: next.number });
    void controls.listen(next.take);
    queueMicrotask(() => /** @type {HTMLElement | null} */ (document.querySelector(`.strip li[data-number="${next.number}"] button`))?.focus());
  } else if (event.key === "Enter" && at >= 0) {
    event.preventDefault();
    controls.keep();
  } else if (event.key === "Backspace" && at >= 0) {
    event.preventDefault();
    void controls.remove(takes[at].take);
  }
}
