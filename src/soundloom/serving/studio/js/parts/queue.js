/** The queue, opened: its order, what ended, and what can be done with jobs. */

import { api } from "../net/api.js";
import { t } from "../strings.js";
import { queue as words } from "../strings-work.js";
import { fill, h, iconButton, keyed } from "./element.js";
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
  const move = (/** @type {string} */ id, /** @type {number} */ by) => controls.attempt(async () => {
    const ids = Object.values(store.state.jobs).filter((job) => job.state === "queued").map((job) => job.id);
    const at = ids.indexOf(id) + (by > 0 ? 2 : -1);
    await api.move(id, ids[at] ?? null);
    store.send({ type: "jobs", jobs: await api.jobs() });
  });
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
      });
    }
  };
  const row = (/** @type {Job} */ job, /** @type {number} */ at, /** @type {number} */ of) => {
    const done = job.items.filter((item) => item.take).length;
    const error = job.items.find((item) => item.error)?.error;
    const active = ACTIVE.includes(job.state);
    return [
      h("div", { class: "row" },
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
      error && h("p", { class: "small bad" }, `${error.message}. ${error.hint ?? ""}`),
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
