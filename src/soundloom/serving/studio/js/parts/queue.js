/** The queue, opened: its order, what ended, and what can be done with jobs. */

import { api } from "../net/api.js";
import { sentence, t } from "../strings.js";
import { queue as words } from "../strings-work.js";
import { fill, h, icon, iconButton, keyed } from "./element.js";
import "./more-styles.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Job} Job */

const ACTIVE = ["queued", "running", "canceling"];
const SHOWN = 30; // of those that ended
const CLEARED = "soundloom-cleared"; // the time of the last "Clear", in this browser

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function queueList(store, controls) {
  const waiting = h("ol", { class: "jobs" });
  const ended = h("ol", { class: "jobs" });
  const nothing = h("p", { class: "soft small" }, words.nothing);
  let cleared = readCleared();
  const pause = h("button", { type: "button", onclick: () => void controls.attempt(() => api.pause(!store.state.system?.paused)) });
  const clear = h("button", { type: "button", class: "plain small", onclick: () => {
    cleared = Date.now() / 1000;
    keepCleared(cleared);
    show();
  } }, words.clear);
  const heading = h("h3", { class: "grow soft small" }, words.ended);
  const queuedIds = () => Object.values(store.state.jobs).filter((job) => job.state === "queued").map((job) => job.id);
  const place = (/** @type {string} */ id, /** @type {string | null} */ before) => controls.attempt(async () => {
    await api.move(id, before);
    store.send({ type: "jobs", jobs: await api.jobs() });
  });
  const move = (/** @type {string} */ id, /** @type {number} */ by) => {
    const ids = queuedIds();
    return place(id, ids[ids.indexOf(id) + (by > 0 ? 2 : -1)] ?? null);
  };
  dragToOrder(waiting, queuedIds, place);
  const show = () => {
    const jobs = Object.values(store.state.jobs);
    const active = jobs.filter((job) => ACTIVE.includes(job.state));
    const queued = active.filter((job) => job.state === "queued");
    const old = jobs.filter((job) => !ACTIVE.includes(job.state) && (job.ended ?? 0) > cleared).reverse().slice(0, SHOWN);
    nothing.hidden = active.length > 0;
    heading.parentElement?.toggleAttribute("hidden", old.length === 0);
    for (const [list, of] of /** @type {[Element, Job[]][]} */ ([[waiting, active], [ended, old]])) {
      keyed(list, of, (job) => job.id, () => h("li", {}), (element, job) => {
        const key = JSON.stringify([job.state, job.items.map((item) => item.state), job.progress?.fraction, queued.indexOf(job), queued.length]);
        if (element.dataset.shown === key) return;
        element.dataset.shown = key;
        fill(element, row(job, queued.indexOf(job), queued.length));
        element.draggable = queued.length > 1 && queued.includes(job);
      });
    }
  };
  const row = (/** @type {Job} */ job, /** @type {number} */ at, /** @type {number} */ of) => {
    const done = job.items.filter((item) => item.take).length;
    const error = job.items.find((item) => item.error)?.error;
    const active = ACTIVE.includes(job.state);
    return [
      h("div", { class: "row" }, at >= 0 && of > 1 && h("span", { class: "soft grip" }, icon("drag")),
        h("span", { class: "grow cut", title: job.request.prompt },
          job.request.prompt || t.kind[/** @type {keyof typeof t.kind} */ (job.kind)] || job.kind),
        at >= 0 && of > 1 && [iconButton("up", words.up, () => void move(job.id, -1), { disabled: at === 0 }),
          iconButton("down", words.down, () => void move(job.id, 1), { disabled: at === of - 1 })],
        active && iconButton("close", words.cancel, () => void controls.cancel(job.id)),
        !active && done > 0 && iconButton("list", words.show, () => show_(job)),
        !active && done < job.items.length && iconButton("again", words.retry, () => void controls.retry(job.id))),
      h("div", { class: "row soft small" }, h("span", { class: job.state === "failed" ? "bad" : "" },
        words.states[/** @type {keyof typeof words.states} */ (job.state)] ?? job.state),
        [words.takes(done, job.items.length), job.model, job.client === "browser" ? "" : words.from(job.client),
          job.attempt > 0 && active ? t.queue.interrupted : ""].filter(Boolean).join(" · ")),
      job.state === "running" && h("progress", { value: job.progress?.fraction ?? 0, "aria-label": words.states.running }),
      error && h("p", { class: "small bad" }, `${error.message}. ${sentence(error.hint ?? "")}`),
    ].filter(Boolean);
  };
  const show_ = (/** @type {Job} */ job) => {
    store.send({ type: "candidates", candidates: { job: job.id, focus: 0, before: null } });
    store.send({ type: "screen", value: "studio" });
    /** @type {HTMLElement | null} */ (waiting.closest("[popover]"))?.hidePopover();
  };
  store.watch((state) => [state.jobs], show);
  store.watch((state) => [state.system?.paused, state.system?.user], (paused, user) => {
    pause.textContent = paused ? words.resume : words.pause;
    pause.hidden = user !== null;
  });
  const box = h("div", { class: "column queue" },
    h("div", { class: "row" }, h("h3", { class: "grow soft small" }, words.waiting), pause), nothing, waiting, h("div", { class: "row" }, heading, clear), ended);
  show();
  return [box];
}

/**
 * Let jobs be dragged to another place among those that wait.
 * @param {HTMLElement} list
 * @param {() => string[]} ids those that wait, in their order
 * @param {(id: string, before: string | null) => unknown} place
 */
function dragToOrder(list, ids, place) {
  let dragged = "";
  const rowOf = (/** @type {DragEvent} */ { target }) =>
    /** @type {HTMLElement | null} */ (target instanceof Element ? target.closest("li") : null);
  const mark = (/** @type {HTMLElement | null} */ row, side = "") => {
    for (const one of list.children) /** @type {HTMLElement} */ (one).dataset.drop = one === row ? side : "";
  };
  /** The job before which a drop would put the dragged one; undefined: where it is. @param {DragEvent} event */
  const target = (event) => {
    const row = rowOf(event);
    const order = ids();
    const at = order.indexOf(row?.dataset.key ?? "");
    if (!row || at < 0) return undefined;
    const box = row.getBoundingClientRect();
    const side = event.clientY > (box.top + box.bottom) / 2 ? "after" : "before";
    const place = at + (side === "after" ? 1 : 0);
    const from = order.indexOf(dragged);
    return place === from || place === from + 1 ? undefined : { row, side, before: order[place] ?? null };
  };
  list.addEventListener("dragstart", (event) => {
    const row = rowOf(event);
    dragged = row?.dataset.key ?? "";
    /** @type {HTMLElement | null | undefined} */ (row?.querySelector(":enabled"))?.focus(); // the keyboard goes with it
    event.dataTransfer?.setData("application/x-soundloom-job", dragged);
  });
  list.addEventListener("dragover", (event) => {
    if (!dragged) return;
    event.preventDefault();
    const found = target(event);
    mark(found?.row ?? null, found?.side);
  });
  list.addEventListener("drop", (event) => {
    const found = dragged ? target(event) : undefined;
    if (found) void place(dragged, found.before);
  });
  list.addEventListener("dragend", () => {
    dragged = "";
    mark(null);
  });
}

function readCleared() {
  try {
    return Number(localStorage.getItem(CLEARED) ?? 0);
  } catch {
    return 0;
  }
}

/** @param {number} time */
function keepCleared(time) {
  try {
    localStorage.setItem(CLEARED, String(time));
  } catch {
    // it lasts as long as the page
  }
}
