/** Many prompts at once: a row for each line, a column for each seed. */

import { createCollecting } from "../collecting.js";
import { api, newKey } from "../net/api.js";
import { usedModel } from "../state/actions.js";
import { t } from "../strings.js";
import { library } from "../strings-library.js";
import { batch as words, queue as queueWords } from "../strings-work.js";
import { thumbnail } from "../view/thumbnail.js";
import { fill, h, icon, iconButton, keyed } from "./element.js";
import "./more-styles.js";
import { newId } from "./fields.js";
import { toast } from "./toast.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Item} Item */
/** @typedef {import("../types.js").Job} Job */
/** @typedef {{lines: string, seeds: number, first: number | null, seconds: number, jobs: string[]}} Batch */

const KEY = "soundloom-batch";
const MAX_LINES = 100;
const ACTIVE = ["queued", "running", "canceling"];
/** @type {Batch} */
const FIRST = { lines: "", seeds: 4, first: null, seconds: 4, jobs: [] };

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function batch(store, controls) {
  const collecting = createCollecting(store, controls.attempt);
  let value = read();
  const keep = (/** @type {Partial<Batch>} */ change) => {
    value = { ...value, ...change };
    try {
      localStorage.setItem(KEY, JSON.stringify(value));
    } catch {
      // it lasts as long as the page
    }
    show();
  };
  const lines = () => value.lines.split("\n").map((line) => line.trim()).filter(Boolean);
  const jobs = () => value.jobs.flatMap((id) => store.state.jobs[id] ?? []);
  const form = fields(() => value, keep);
  const main = h("button", { type: "button", class: "main", onclick: () => void make() });
  const about = h("span", { class: "soft small", role: "status" });
  const bar = progressBar(store, controls, collecting, jobs, () => keep({ jobs: [] }));
  const table = h("div", { class: "grid-of-takes" });
  const empty = h("p", { class: "soft" }, words.empty);

  async function make() {
    const first = value.first ?? Math.floor(Math.random() * 2 ** 31);
    for (const prompt of lines()) {
      const request = { prompt, seconds: value.seconds, seed: first };
      const body = { kind: "generate", class: "batch", model: store.state.model, count: value.seeds, request };
      const job = await controls.attempt(() => api.submit(body, newKey()));
      if (!job) return; // the notice says why; what was sent goes on
      store.send({ type: "job", job });
      keep({ jobs: [...value.jobs, job.id] });
    }
  }

  let shown = "";
  const show = () => {
    const count = lines().length;
    const model = usedModel(store.state);
    main.textContent = words.make(count * value.seeds);
    main.disabled = count === 0 || count > MAX_LINES || store.state.connection !== "open" || model?.installed === false;
    about.textContent = count > MAX_LINES ? words.limit(MAX_LINES) : "";
    empty.hidden = jobs().length > 0;
    table.hidden = jobs().length === 0;
    const key = jobs().map((job) => job.id).join();
    if (shown !== key) {
      shown = key;
      fill(table, jobs().length > 0 && head(jobs()));
    }
    const body = table.querySelector("tbody");
    if (body) keyed(body, jobs(), (job) => job.id, (job) => row(job, store, controls), (element, job) => update(element, job, store));
  };
  store.watch((state) => [state.jobs, state.takes, state.connection, state.model, state.models, state.listening.preview, state.listening.playing], () => {
    show();
    bar.show();
  });
  store.watch((state) => [state.connection === "open"], async (open) => {
    if (!open) return;
    for (const id of value.jobs.filter((one) => !store.state.jobs[one])) {
      try {
        store.send({ type: "job", job: await api.job(id) });
      } catch {
        keep({ jobs: value.jobs.filter((one) => one !== id) }); // it is gone
      }
    }
  });
  show();
  return h("div", { class: "screen batch column" }, h("h1", { class: "hidden-text" }, words.label),
    h("section", { class: "panel column", "aria-label": words.label }, form, h("div", { class: "row" }, main, about)),
    bar.element, empty, table, toast(store, collecting));
}

/** @returns {Batch} */
function read() {
  try {
    return { ...FIRST, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
  } catch {
    return FIRST;
  }
}

/**
 * @param {() => Batch} value
 * @param {(change: Partial<Batch>) => void} keep
 */
function fields(value, keep) {
  const area = h("textarea", {
    id: newId(), rows: 4, value: value().lines, placeholder: words.linesHint, oninput: () => keep({ lines: area.value }),
  });
  const field = (/** @type {string} */ label, /** @type {HTMLInputElement} */ input, title = "") => {
    input.id = newId();
    return h("div", { class: "row", title }, h("label", { htmlFor: input.id, class: "soft small" }, label), input);
  };
  /**
   * @param {number | null} start
   * @param {Record<string, unknown>} limits
   * @param {(value: number) => void} change
   */
  const number = (start, limits, change) => {
    const input = h("input", { type: "number", class: "number", value: start === null ? "" : String(start), ...limits,
      oninput: () => input.validity.valid && change(input.valueAsNumber) });
    return input;
  };
  const first = number(value().first, { min: 0, max: 2 ** 32 - 1, step: 1, placeholder: words.firstHint },
    (seed) => keep({ first: Number.isNaN(seed) ? null : seed }));
  return h("div", { class: "column" }, h("div", { class: "column tight" }, h("label", { htmlFor: area.id, class: "soft small" }, words.lines), area),
    h("div", { class: "row fields" },
      field(words.seeds, number(value().seeds, { min: 1, max: 16, step: 1, required: true }, (seeds) => keep({ seeds }))),
      field(words.first, first, words.firstMore),
      field(words.seconds, number(value().seconds, { min: 0.1, max: 380, step: "any", required: true }, (seconds) => keep({ seconds })))));
}

/**
 * @param {Store} store
 * @param {Controls} controls
 * @param {import("../collecting.js").Collecting} collecting
 * @param {() => Job[]} jobs
 * @param {() => void} clear
 */
function progressBar(store, controls, collecting, jobs, clear) {
  const text = h("span", { class: "number", role: "status" });
  const meter = h("progress", { "aria-label": words.label });
  const pause = h("button", { type: "button", onclick: () => void controls.attempt(() => api.pause(!store.state.system?.paused)) });
  const cancelAll = () => jobs().filter((job) => ACTIVE.includes(job.state)).forEach((job) => void controls.cancel(job.id));
  const cancel = h("button", { type: "button", onclick: cancelAll }, words.cancel);
  const takes = () => jobs().flatMap((job) => job.items.flatMap((item) => item.take ?? []));
  const save = h("button", { type: "button", onclick: () => void collecting.export(takes()) }, icon("download"), words.export);
  const wipe = h("button", { type: "button", class: "plain", onclick: clear }, words.clear);
  const element = h("div", { class: "row panel batch-bar" }, text, meter, pause, cancel, save, wipe);
  const show = () => {
    const items = jobs().flatMap((job) => job.items);
    const busy = jobs().some((job) => ACTIVE.includes(job.state));
    const left = jobs().reduce((sum, job) => sum + (job.state === "running" ? (job.progress?.seconds_left ?? 0) : 0), 0);
    element.hidden = items.length === 0;
    const done = items.filter((item) => item.take).length;
    text.textContent = words.progress(done, items.length) + (busy && left ? ` · ${t.about(left)}` : "");
    meter.max = Math.max(1, items.length);
    meter.value = done;
    meter.hidden = cancel.hidden = pause.hidden = !busy;
    wipe.hidden = busy;
    save.disabled = done === 0;
    pause.textContent = store.state.system?.paused ? queueWords.resume : queueWords.pause;
  };
  store.watch((state) => [state.system?.paused], show);
  return { element, show };
}

/** @param {Job[]} jobs */
function head(jobs) {
  const columns = Math.max(...jobs.map((job) => job.items.length));
  const seeds = Array.from({ length: columns }, (_, index) => [...new Set(jobs.flatMap((job) => job.items[index]?.seed ?? []))]);
  return h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, words.prompt), seeds.map((found, index) =>
    h("th", { scope: "col" }, found.length === 1 ? words.seed(found[0]) : words.take(index + 1))))), h("tbody", {}));
}

/**
 * @param {Job} job
 * @param {Store} store
 * @param {Controls} controls
 */
function row(job, store, controls) {
  const prompt = job.request.prompt ?? "";
  return h("tr", {}, h("th", { scope: "row" }, prompt), job.items.map((item) => {
    const cell = h("td", { "data-number": item.number });
    cell.addEventListener("click", (event) => {
      const take = store.state.jobs[job.id]?.items[item.number]?.take;
      const role = event.target instanceof Element ? event.target.closest("button")?.dataset.role : "";
      if (!take || !role) return;
      const { preview, playing } = store.state.listening;
      if (role === "star") void controls.changeTake(take, { favorite: !store.state.takes[take]?.favorite });
      else if (role === "open") void controls.open(take);
      else if (preview === take && playing) controls.togglePlay();
      else void controls.listen(take);
    });
    return cell;
  }));
}

/**
 * @param {HTMLElement} element
 * @param {Job} job
 * @param {Store} store
 */
function update(element, job, store) {
  const { takes, listening } = store.state;
  for (const item of job.items) {
    const cell = /** @type {HTMLElement | null} */ (element.querySelector(`[data-number="${item.number}"]`));
    if (!cell) continue;
    const take = item.take ? takes[item.take] : null;
    const plays = listening.playing && listening.preview === item.take && item.take !== null;
    const fraction = item.state === "running" ? Math.round(100 * (job.progress?.fraction ?? 0)) : 0;
    const key = [item.state, item.take, take?.favorite, take?.deleted, plays, fraction].join();
    if (cell.dataset.shown === key) continue;
    if (item.take && !take?.deleted) finished(cell, job, item, take?.favorite === true, plays);
    else fill(cell, waiting(item, fraction, take?.deleted ? library.deleted : ""));
    cell.dataset.shown = key;
  }
}

/**
 * @param {HTMLElement} cell
 * @param {Job} job
 * @param {Item} item
 * @param {boolean} favorite
 * @param {boolean} plays
 */
function finished(cell, job, item, favorite, plays) {
  const name = words.listen(job.request.prompt ?? "", item.number + 1);
  const picture = cell.querySelector("canvas") ?? thumbnail(/** @type {string} */ (item.take), 160);
  fill(cell, h("div", { class: "cell" },
    h("button", { type: "button", class: "plain listen", "data-role": "listen", "aria-label": name, title: name, "aria-pressed": String(plays) },
      icon(plays ? "pause" : "play"), picture),
    iconButton("star", library.star, () => {}, { "data-role": "star", "aria-pressed": String(favorite) }),
    iconButton("forward", words.open, () => {}, { "data-role": "open" })));
}

/**
 * @param {Item} item
 * @param {number} percent
 * @param {string} gone
 */
function waiting(item, percent, gone) {
  if (item.error) return h("span", { class: "bad small", title: `${item.error.message}. ${item.error.hint}` }, icon("warning"), ` ${item.error.message}`);
  if (item.state === "running") return h("progress", { value: percent / 100, "aria-label": t.candidates.waiting });
  return h("span", { class: "soft small" }, gone || (item.state === "queued" ? t.candidates.waiting : item.state));
}
