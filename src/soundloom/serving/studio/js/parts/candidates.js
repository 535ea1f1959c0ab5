/** The takes of a job: hear them in place of the one in the editor, and keep one. */

import { candidateTakes, place } from "../state/actions.js";
import { sentence, t } from "../strings.js";
import { narrow } from "./drawers.js";
import { fill, h, icon, iconButton, keyed } from "./element.js";
import { thumbnail } from "../view/thumbnail.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Item} Item */
/** @typedef {import("../types.js").Job} Job */
/** @typedef {import("../types.js").State} State */

const GROWN_MS = 300; // until the editor shows a take

/**
 * @param {Store} store
 * @param {Controls} controls
 * @param {HTMLElement} panel that holds them
 */
export function candidates(store, controls, panel) {
  const list = h("ol", { class: "strip", onkeydown: (/** @type {KeyboardEvent} */ event) => keys(event, store, controls) });
  const hint = h("p", { class: "soft small hint" }, t.candidates.hint);
  const none = h("p", { class: "soft" }, t.candidates.none);
  const alike = h("p", { class: "soft small row top alike" }, icon("help"), h("span", { class: "grow" }, t.candidates.alike));
  const shared = h("p", { class: "warn small row top alike" });
  const passes = h("div", {});
  const end = store.watch((state) => [state.passes.length > 0], async (some) => {
    if (!some) return;
    queueMicrotask(() => end());
    fill(passes, (await import("./passes.js")).passList(store, controls));
  });
  const cards = new Cards(store, controls);
  store.watch(
    (state) => [state.candidates, jobOf(state), state.takes, state.measures, place(state).take],
    (found, job, takes, _, open) => {
      const items = (job?.items ?? []).filter((item) => !item.take || !takes[item.take]?.deleted);
      none.hidden = items.length > 0;
      hint.hidden = !items.some((item) => item.take);
      alike.hidden = job?.model !== "mini" || items.length < 2;
      const said = ofAll(items.flatMap((item) => (item.take && takes[item.take] ? [takes[item.take]] : [])));
      shared.hidden = said.length === 0;
      fill(shared, icon("warning"), h("span", {}, said.map(sentence).join(" ")));
      for (const item of items) if (item.take && !takes[item.take]) void controls.take(item.take);
      keyed(list, items, (item) => `${job?.id}-${item.number}`, (item) => cards.make(item), (element, item) =>
        cards.update(element, item, /** @type {Job} */ (job), item.number === found?.focus, item.take === open, said));
    },
  );
  const head = h("div", { class: "row" }, h("h2", {}, t.candidates.label), hint, h("span", { class: "grow" }), tools(store, controls));
  store.watch((state) => [state.candidates?.job, candidateTakes(state).length > 0, place(state).take], (job, some) => {
    // it may lie below the editor, which grows when it gets a take
    if (job && narrow.matches) setTimeout(() => panel.scrollIntoView({ block: "nearest" }), some ? GROWN_MS : 0);
  });
  return [head, passes, none, list, shared, alike];
}

/** What the server warns of in each of several takes: it is said once. @param {import("../types.js").Take[]} takes @returns {string[]} */
function ofAll(takes) {
  const [first, ...rest] = takes.map((take) => /** @type {string[]} */ (take.record.warnings ?? []));
  return rest.length > 0 ? first.filter((text) => rest.every((one) => one.includes(text))) : [];
}

/** @param {State} state */
function jobOf(state) {
  return state.candidates ? (state.jobs[state.candidates.job] ?? null) : null;
}

/**
 * The same again, and the takes of earlier jobs.
 * @param {Store} store
 * @param {Controls} controls
 */
function tools(store, controls) {
  const again = iconButton("again", t.candidates.again, () => {
    const [first] = candidateTakes(store.state);
    if (first) void controls.again(first.take);
  });
  const jobs = () => Object.values(store.state.jobs).filter((job) => job.class === "interactive")
    .sort((one, other) => one.created - other.created);
  const go = (/** @type {number} */ by) => {
    const known = jobs();
    const next = known[known.findIndex((job) => job.id === store.state.candidates?.job) + by];
    const before = store.state.candidates?.before ?? null;
    if (next) store.send({ type: "candidates", candidates: { job: next.id, focus: 0, before } });
  };
  const earlier = iconButton("previous", t.candidates.earlier, () => go(-1));
  const later = iconButton("next", t.candidates.later, () => go(1));
  const box = h("span", { class: "row steps" }, again, earlier, later);
  store.watch((state) => [state.candidates, state.jobs], (found) => {
    const known = jobs();
    const at = known.findIndex((job) => job.id === found?.job);
    box.hidden = at < 0;
    again.disabled = candidateTakes(store.state).length === 0;
    earlier.disabled = at <= 0;
    later.disabled = at < 0 || at === known.length - 1;
  });
  return box;
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
    return h("li", { "data-number": item.number }, button, h("span", { class: "row actions" }));
  }

  /**
   * @param {HTMLElement} element
   * @param {Item} item
   * @param {Job} job
   * @param {boolean} focused
   * @param {boolean} open
   * @param {string[]} said warnings of all of them
   */
  update(element, item, job, focused, open, said) {
    const [button, actions] = /** @type {[HTMLButtonElement, HTMLElement]} */ ([...element.children]);
    button.setAttribute("aria-current", String(focused));
    button.tabIndex = focused ? 0 : -1;
    const take = item.take ? this.store.state.takes[item.take] : null;
    const loudness = item.take ? (this.store.state.measures[item.take]?.loudness ?? null) : null;
    const key = `${item.state} ${item.take} ${Boolean(take)} ${open} ${loudness} ${said.join()}`;
    const waits = item.state === "running" || item.state === "queued";
    if (waits) fill(button, waiting(item, job));
    else if (button.dataset.shown !== key) {
      fill(button, item.take ? this._finished(item, job, loudness, said) : failed(item));
      fill(actions, item.take ? this._actions(item, job, open) : this._retry(item, job));
    }
    if (waits) fill(actions);
    button.dataset.shown = key;
  }

  /**
   * @param {Item} item
   * @param {Job} job
   * @param {number | null} loudness
   * @param {string[]} said
   */
  _finished(item, job, loudness, said) {
    const take = item.take ? this.store.state.takes[item.take] : null;
    const warnings = /** @type {string[]} */ (take?.record.warnings ?? []).filter((/** @type {string} */ text) => !said.includes(text));
    return [
      item.take && thumbnail(item.take),
      h("span", { class: "row small" }, h("span", { class: "grow" }, t.candidates.take(item.number + 1, job.items.length)),
        loudness !== null && h("span", { class: "soft number" }, t.candidates.loudness(loudness))),
      h("span", { class: "small soft number" }, item.seed !== null && t.candidates.seed(item.seed)),
      ...warnings.map((text) => h("span", { class: "warn small row top" }, icon("warning"), h("span", {}, sentence(text)))),
    ];
  }

  /**
   * @param {Item} item
   * @param {Job} job
   * @param {boolean} isOpen
   */
  _actions(item, job, isOpen) {
    const name = t.candidates.take(item.number + 1, job.items.length);
    const id = /** @type {string} */ (item.take);
    const kept = h("span", { class: "good small row kept" }, icon("check"), t.candidates.kept);
    const open = () => {
      go(item, this.store); // not to what hides the take
      void this.controls.open(id);
    };
    const label = { "aria-label": t.candidates.keepThis(name) };
    const keep = h("button", { type: "button", class: "plain", ...label, onclick: open }, icon("check"), t.candidates.keep);
    return [
      isOpen ? kept : keep,
      iconButton("close", t.candidates.hide(name), () => void this.controls.remove(id)),
    ];
  }

  /**
   * @param {Item} item
   * @param {Job} job
   */
  _retry(item, job) {
    const ended = job.state === "failed" || job.state === "canceled";
    const { id, kind, model, request } = job;
    const copy = h("button", { type: "button", class: "plain", onclick: async () => {
      await navigator.clipboard?.writeText(JSON.stringify({ id, kind, model, request, error: item.error }, null, 2));
      copy.textContent = t.candidates.copied;
    } }, t.queue.details);
    const retry = h("button", { type: "button", class: "plain", onclick: () => void this.controls.retry(id) }, t.queue.retry);
    return [ended && retry, item.error && copy];
  }

  /** @param {number} number */
  _listen(number) {
    this.store.send({ type: "focus", focus: number });
    const found = candidateTakes(this.store.state).find((one) => one.number === number);
    if (found) void this.controls.listen(found.take);
  }
}

/** @param {Item} item */
function failed(item) {
  if (!item.error) return [h("span", { class: "soft small" }, t.candidates.canceled)];
  return [h("span", { class: "bad small row top" }, icon("warning"), h("span", {}, item.error.message || t.candidates.failed)),
    h("span", { class: "soft small" }, item.error.hint)];
}

/**
 * @param {Item} item
 * @param {Job} job
 */
function waiting(item, job) {
  const progress = item.state === "running" ? job.progress : null;
  const label = { "aria-label": t.candidates.take(item.number + 1, job.items.length) };
  return [
    h("progress", progress?.fraction === undefined ? { ...label, ...(progress ? {} : { value: 0 }) } : { ...label, value: progress.fraction }),
    h("span", { class: "soft small" }, progress?.seconds_left === undefined ? t.candidates.waiting : t.about(progress.seconds_left)),
  ];
}

/**
 * @param {KeyboardEvent} event
 * @param {Store} store
 * @param {Controls} controls
 */
function keys(event, store, controls) {
  const takes = candidateTakes(store.state).filter((one) => !store.state.takes[one.take]?.deleted);
  const at = takes.findIndex((one) => one.number === store.state.candidates?.focus);
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  const onCard = event.target instanceof Element && event.target.matches(".card");
  if (step && takes.length > 0) {
    event.preventDefault();
    go(takes[Math.max(0, Math.min(takes.length - 1, at + step))], store);
    void controls.listen(takes[Math.max(0, Math.min(takes.length - 1, at + step))].take);
  } else if (event.key === "Enter" && at >= 0 && onCard) {
    event.preventDefault();
    controls.keep();
  } else if (event.key === "Backspace" && at >= 0) {
    event.preventDefault();
    void controls.remove(takes[at].take);
    const next = takes[at + 1] ?? takes[at - 1];
    if (next) go(next, store);
  }
}

/**
 * Move the focus to a card.
 * @param {{number: number}} next
 * @param {Store} store
 */
function go(next, store) {
  store.send({ type: "focus", focus: next.number });
  queueMicrotask(() => /** @type {HTMLElement | null} */ (document.querySelector(`.strip li[data-number="${next.number}"] .card`))?.focus());
}
