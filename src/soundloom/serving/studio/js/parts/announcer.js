/** What a screen reader says of jobs: that one started, each quarter of a long one, and how it ended. */

import { t } from "../strings.js";
import { h } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../types.js").Job} Job */

const LONG_SECONDS = 5; // quarters of shorter jobs would only be noise

/** @param {Store} store */
export function announcer(store) {
  const box = h("div", { class: "hidden-text", role: "status" });
  /** @type {Map<string, string>} what was said of each job last */
  const said = new Map();
  store.watch((state) => [state.jobs], (jobs) => {
    for (const job of Object.values(jobs)) {
      const text = news(job, Date.now() / 1000);
      const isOld = !said.has(job.id) && job.ended !== null && job.created * 1000 < performance.timeOrigin;
      if (text && text !== said.get(job.id) && !isOld) box.textContent = text;
      if (text || isOld) said.set(job.id, text);
    }
  });
  return box;
}

/**
 * @param {Job} job
 * @param {number} now seconds since 1970
 */
function news(job, now) {
  const made = job.items.filter((item) => item.take).length;
  if (job.state === "succeeded") return t.news.done(made);
  if (job.state === "failed") return t.news.failed(job.items.find((item) => item.error)?.error?.message ?? "");
  if (job.state === "canceled") return t.news.canceled(made);
  if (job.state === "interrupted") return t.queue.interrupted;
  const quarter = Math.floor(4 * (job.progress?.fraction ?? 0));
  if (quarter === 0) return t.news.started(job.items.length);
  return job.started !== null && now - job.started > LONG_SECONDS ? t.news.quarter(25 * quarter) : "";
}
