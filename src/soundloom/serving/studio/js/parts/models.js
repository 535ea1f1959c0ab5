/** The models: which are here, what they need and allow, and adapters. */

import { api, json } from "../net/api.js";
import { duration, size, t } from "../strings.js";
import { models as words } from "../strings-work.js";
import { fill, h, icon, iconButton, keyed } from "./element.js";
import { addFile } from "./loras.js";
import "./more-styles.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Model} Model */

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function models(store, controls) {
  const list = h("ul", { class: "cards" });
  const license = licenseDialog(controls);
  const removal = removalDialog();
  const facts = h("p", { class: "soft small" });
  const act = (/** @type {() => Promise<unknown>} */ work) => void controls.attempt(async () => {
    await work();
    store.send({ type: "models", models: await api.models() });
  });
  const use = (/** @type {string} */ name) => {
    store.send({ type: "model", name });
    store.send({ type: "screen", value: "studio" });
  };
  /** @type {Map<string, {time: number, done: number}>} when a download was first seen */
  const begun = new Map();
  const memoryOf = (/** @type {import("../types.js").State} */ { system }) => Math.max(0, ...(system?.devices ?? []).map((one) => one.memory ?? 0));
  store.watch((state) => [state.models, state.model, state.system?.user, memoryOf(state)], (all, used, user, memory) => {
    keyed(list, all, (model) => model.id, (model) => h("li", { class: "panel card model", "data-model": model.id }), (element, model) => {
      const running = model.task?.state === "running" ? model.task : null;
      if (!running) begun.delete(model.id);
      else if (!begun.has(model.id)) begun.set(model.id, { time: performance.now(), done: running.done });
      const key = JSON.stringify([model.installed, model.loaded, model.task, used === model.id, user === null, user === undefined, memory]);
      if (element.dataset.shown === key) return;
      element.dataset.shown = key;
      fill(element, card(model, used === model.id, user === undefined ? null : user === null, begun.get(model.id), memory));
    });
  });
  store.watch((state) => [state.system], (system) => {
    facts.textContent = [...(system?.devices ?? []).map((one) => [one.device ?? one.name, one.engine, one.precision].filter(Boolean).join(" · ")),
      system ? words.free(size(system.disk.free)) : ""].join(" · ");
  });

  /**
   * @param {Model} model
   * @param {boolean} used
   * @param {boolean | null} may null: not known yet
   * @param {{time: number, done: number} | undefined} start
   * @param {number} memory bytes that this machine has, 0 if unknown
   */
  function card(model, used, may, start, memory) {
    const state = model.loaded ? words.loaded : model.installed ? (model.bytes ? words.here : words.builtIn) : "";
    const { action, state: doing } = model.task ?? {};
    const busy = doing === "running";
    const isPaused = doing === "paused";
    const pulls = action === "pull" && (busy || isPaused);
    const button = (/** @type {string} */ text, /** @type {() => void} */ onclick, main = false) =>
      h("button", { type: "button", class: main ? "main" : "", onclick }, text);
    return [
      h("div", { class: "row" }, h("h2", {}, model.id), model.id === "mini" && h("span", { class: "tag small" }, t.demonstration),
        state && h("span", { class: "good small row" }, icon("check"), state), used && h("span", { class: "soft small" }, words.used)),
      h("p", { class: "soft small" }, [words.kinds[kindOf(model)],
        model.max_seconds ? words.longest(duration(model.max_seconds)) : "",
        model.bytes ? (model.installed ? size(model.bytes) : words.size(size(model.bytes))) : ""].filter(Boolean).join(" · ")),
      model.memory && needs(model.memory, memory),
      model.license && h("p", { class: "small" }, h("span", { class: "soft" }, `${words.license}: `), model.license),
      model.id === "mini" && h("p", { class: "small" }, t.demonstrationMore(model.max_seconds ?? 0)),
      task(model, start),
      h("div", { class: "row" },
        pulls && may && [
          button(busy ? words.pause : words.resume, () => act(() => api.act(model.id, busy ? "pause" : "resume")), isPaused),
          button(words.stop, () => act(() => api.act(model.id, "stop")))],
        !model.installed && !busy && !isPaused && may && button(words.get, () => license.ask(model.id, () => act(() => api.pull(model.id, true))), true),
        model.installed && !used && button(words.use, () => use(model.id), true),
        model.installed && may && (model.loaded ? button(words.unload, () => act(() => api.act(model.id, "unload")))
          : button(words.load, () => act(() => api.act(model.id, "load")))),
        model.installed && may && !busy && button(words.verify, () => act(() => api.act(model.id, "verify"))),
        model.installed && may && !busy && model.removable > 0 &&
          button(words.remove, () => removal.ask(model, () => act(() => json(`/v1/models/${encodeURIComponent(model.id)}`, { method: "DELETE" })))),
        may === false && !model.installed && h("span", { class: "soft small" }, words.onlyAdmin)),
    ].filter(Boolean);
  }
  return h("div", { class: "screen models column" }, h("h1", { class: "hidden-text" }, words.label),
    h("div", { class: "column tight" }, h("p", {}, words.intro), facts), list, adapters(store, controls), license.dialog, removal.dialog);
}

/**
 * Whether a model fits into the memory that is here.
 * @param {number} needed
 * @param {number} here
 */
function needs(needed, here) {
  const fits = needed <= here;
  const has = size(here > 1e10 ? Math.round(here / 1e9) * 1e9 : here);
  return h("p", { class: "small" }, h("span", { class: "soft" }, `${words.memory}: `), words.needs(size(needed)), here > 0 && [", ",
    h("span", { class: fits ? "good" : "warn" }, fits ? words.has(has) : words.lacks(has), icon(fits ? "check" : "warning"))]);
}

/**
 * A download or a check: how far, or how it ended.
 * @param {Model} model
 * @param {{time: number, done: number} | undefined} start
 */
function task({ task: found }, start) {
  if (!found) return null;
  if (found.state === "paused") {
    return h("div", { class: "column tight" }, h("progress", { value: found.total ? found.done / found.total : 0, "aria-label": words.label }),
      h("span", { class: "soft small" }, words.paused(words.downloading(size(found.done), size(found.total)))));
  }
  if (found.state === "running") {
    const pulls = found.action === "pull";
    const seconds = start ? (performance.now() - start.time) / 1000 : 0;
    const speed = start && seconds > 2 ? (found.done - start.done) / seconds : 0;
    const left = speed > 0 ? ` · ${words.speed(size(speed))} · ${words.left(duration((found.total - found.done) / speed))}` : "";
    return h("div", { class: "column tight" },
      h("progress", pulls && found.total ? { value: found.done / found.total, "aria-label": words.label } : { "aria-label": words.verifying }),
      h("span", { class: "soft small" }, pulls ? words.downloading(size(found.done), size(found.total)) + left : words.verifying));
  }
  const { message, hint, faults, tensors } = found.result;
  if (found.state === "failed") {
    const text = faults ? `${words.faults} ${faults.join("; ")}` : `${message}.`;
    return h("p", { class: "bad small", role: "status" }, icon("warning"), ` ${text} `, h("span", { class: "soft" }, hint ?? ""));
  }
  return h("p", { class: "good small", role: "status" }, found.action === "pull" ? words.downloaded : words.verified(tensors ?? 0));
}

/** Asks before a model is removed. */
function removalDialog() {
  const title = h("h2", { id: "removal-title" });
  const text = h("p", {});
  let then = () => {};
  const dialog = h("dialog", { "aria-labelledby": "removal-title" }, h("div", { class: "column" }, title, text,
    h("div", { class: "row" }, h("button", { type: "button", class: "main", onclick: () => (dialog.close(), then()) }, words.remove),
      h("button", { type: "button", onclick: () => dialog.close() }, words.cancel))));
  return {
    dialog,
    /** @param {Model} model @param {() => void} agreed */
    ask: (model, agreed) => {
      then = agreed;
      title.textContent = words.removeModel(model.id);
      text.textContent = words.frees(size(model.removable));
      dialog.showModal();
    },
  };
}

/** What has to be accepted before a download. @param {Controls} controls */
function licenseDialog(controls) {
  const title = h("h2", { id: "license-title", class: "grow" });
  const text = h("div", { class: "terms", tabIndex: 0, role: "group", "aria-labelledby": "license-title" });
  let then = () => {};
  const dialog = h("dialog", { "aria-labelledby": "license-title" }, h("div", { class: "column" },
    h("div", { class: "row" }, title, iconButton("close", t.close, () => dialog.close())), text,
    h("div", { class: "row" }, h("button", { type: "button", class: "main", onclick: () => (dialog.close(), then()) }, words.accept),
      h("button", { type: "button", onclick: () => dialog.close() }, words.cancel))));
  return {
    dialog,
    /** @param {string} model @param {() => void} accepted */
    ask: (model, accepted) => controls.attempt(async () => {
      const { terms } = await api.license(model);
      then = accepted;
      title.textContent = words.licenseOf(model);
      fill(text, terms.split("\n").map((line) => h("p", {}, line)));
      dialog.showModal();
    }),
  };
}

/** What a model makes: a generator may be trained on music or on effects alone. @param {Model} model @returns {keyof typeof words.kinds} */
function kindOf({ kind, templates }) {
  if (kind !== "generator" || templates.length === 0) return /** @type {keyof typeof words.kinds} */ (kind);
  return templates.includes("music") ? (templates.includes("sfx") ? "generator" : "music") : "sfx";
}

/** @param {Store} store @param {Controls} controls */
function adapters(store, controls) {
  const list = h("ul", { class: "column tight" });
  const about = (/** @type {import("../types.js").Lora} */ one) => one.error ??
    [one.type, one.rank ? `rank ${one.rank}` : "", one.fits.length ? words.fits(one.fits.join(", ")) : words.fitsNone].filter(Boolean).join(" · ");
  store.watch((state) => [state.loras], (loras) => fill(list,
    loras.length === 0 ? h("li", { class: "soft small" }, words.noLoras) : loras.map((one) =>
      h("li", { class: "panel card row" }, h("strong", {}, one.name), h("span", { class: one.error ? "bad small" : "soft small" }, about(one))))));
  return h("section", { class: "column", "aria-label": words.loras }, h("h2", {}, words.loras), list, addFile(store, controls));
}
