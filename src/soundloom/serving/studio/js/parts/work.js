/** What is around a take in the editor: tools, picture, overview, regions, and what the last edit kept. Loaded with the first take. */

import { COMMANDS, createEditing, viewOf, wholeView } from "../editing.js";
import { openTake, place } from "../state/actions.js";
import { previewedEdit } from "../state/shown.js";
import { gridOf } from "../state/tempo.js";
import { words } from "../strings-editor.js";
import { count } from "../strings.js";
import { toX } from "../view/grid.js";
import { thumbnail } from "../view/thumbnail.js";
import { fill, h, icon, iconButton } from "./element.js";
import { gestures } from "./gestures.js";
import { regionTable } from "./regions.js";
import { Stage } from "./stage.js";

/**
 * @typedef {import("../net/events.js").Store} Store
 * @typedef {import("../controls.js").Controls} Controls
 * @typedef {import("../audio/player.js").Player} Player
 * @typedef {import("../editing.js").Editing} Editing
 */

const LAYERS = /** @type {const} */ (["wave", "spectrogram", "both"]);
const TRIES = 2; // until there is advice
const SNAPS = /** @type {const} */ (["off", "beat", "bar", "zero", "onset"]);

/**
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 * @returns {HTMLElement[]}
 */
export function work(store, player, controls) {
  const editing = createEditing(store, player);
  controls.editing = editing;
  for (const [name, act] of Object.entries(COMMANDS)) controls.commands.set(/** @type {keyof typeof COMMANDS} */ (name), () => act(editing));
  const stage = new Stage(store, player, editing, controls);
  gestures(stage);
  return [toolbar(store, editing), stage.element, overview(store, editing), regionTable(store, editing), hint(store), said(editing), kept(store, controls)];
}

/**
 * @param {Store} store
 * @param {Editing} editing
 */
function toolbar(store, editing) {
  const layers = LAYERS.map((layer) =>
    iconButton(layer, words.editor.layers[layer], () => store.send({ type: "view", view: { layers: layer } }), { class: "square" }));
  const snap = h("select", {
    "aria-label": words.snap.label, onchange: () => store.send({ type: "settings", settings: { snap: SNAPS[snap.selectedIndex] } }),
  }, SNAPS.map((mode) => h("option", { value: mode }, words.snap[mode])));
  const out = iconButton("minus", words.editor.zoomOut, () => editing.zoomBy(0.5));
  const all = iconButton("fit", words.editor.showAll, editing.showAll);
  store.watch((state) => [state.view.layers, state.settings.snap, state.view.zoom === null, gridOf(state) !== null], (shown, mode, isWhole, hasGrid) => {
    layers.forEach((button, index) => button.setAttribute("aria-pressed", String(LAYERS[index] === shown)));
    snap.selectedIndex = SNAPS.indexOf(mode);
    out.disabled = all.disabled = isWhole;
    for (const index of [1, 2]) snap.options[index].textContent = hasGrid ? words.snap[SNAPS[index]] : words.snap.noGrid(words.snap[SNAPS[index]]);
  });
  return h("div", { class: "row tools" },
    h("div", { class: "segments", role: "group", "aria-label": words.editor.view }, layers),
    h("div", { class: "row", role: "group", "aria-label": words.editor.zoom }, out, iconButton("add", words.editor.zoomIn, () => editing.zoomBy(2)), all),
    h("span", { class: "grow" }),
    h("label", { class: "row" }, h("span", { class: "soft" }, words.snap.label), snap));
}

/**
 * All of the take in small, with a frame around what is in view, which can be dragged.
 * @param {Store} store
 * @param {Editing} editing
 */
function overview(store, editing) {
  const frame = h("div", { class: "frame" });
  const picture = h("div", { class: "picture" });
  const marks = h("div", { class: "picture" });
  const element = h("div", { class: "overview", "aria-hidden": "true" }, picture, marks, frame);
  let grabbed = 0;
  const go = (/** @type {PointerEvent} */ event) => {
    const box = element.getBoundingClientRect();
    const all = wholeView(store.state);
    const view = viewOf(store.state);
    const middle = (all.start + ((event.clientX - box.left - grabbed) / box.width) * all.width * all.perPixel - view.start) / view.perPixel;
    editing.scroll(middle - view.width / 2);
  };
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    const box = frame.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right;
    grabbed = inside ? event.clientX - (box.left + box.right) / 2 : 0;
    go(event);
  });
  element.addEventListener("pointermove", (event) => element.hasPointerCapture(event.pointerId) && go(event));
  store.watch((state) => [openTake(state)?.id], (id) => {
    fill(picture, id && thumbnail(id, 600));
  });
  store.watch((state) => [state.view, state.words, openTake(state)?.audio.samples], (shown) => {
    const all = wholeView(store.state);
    const view = viewOf(store.state);
    element.classList.toggle("idle", shown.zoom === null);
    const scale = 100 / (all.width * all.perPixel);
    frame.style.left = `${(view.start - all.start) * scale}%`;
    frame.style.width = `${view.width * view.perPixel * scale}%`;
    const samples = editing.samples();
    for (const one of [picture, marks]) {
      one.style.left = `${(100 * toX(all, 0)) / all.width}%`;
      one.style.width = `${samples * scale}%`;
    }
  });
  store.watch((state) => [place(state).regions], (regions) => {
    fill(marks, regions.map(({ start, end }) => {
      const mark = h("span", { class: "mark" });
      mark.style.left = `${(100 * start) / editing.samples()}%`;
      mark.style.width = `${(100 * (end - start)) / editing.samples()}%`;
      return mark;
    }));
  });
  return element;
}

/** Advice for who tries the same take again and again. @param {Store} store */
function hint(store) {
  const line = h("p", { class: "soft small" }, words.regions.hint);
  const tries = (/** @type {import("../types.js").State} */ { jobs, undo }) => {
    const { take, regions } = undo.nodes[undo.at].value;
    return regions.length ? Object.values(jobs).filter((job) => job.kind === "inpaint" && job.source === take && job.state === "succeeded").length : 0;
  };
  store.watch((state) => [tries(state) >= TRIES], (isStuck) => (line.hidden = !isStuck));
  return line;
}

/** What the last action did beside what is seen. @param {Editing} editing */
function said(editing) {
  const line = h("p", { class: "soft small said", role: "status" });
  editing.say = (text) => (line.textContent = text);
  return line;
}

/**
 * What the server measured: whether the samples outside of the regions are the same as before.
 * @param {Store} store
 * @param {Controls} controls
 */
function kept(store, controls) {
  const line = h("p", { class: "row kept small", role: "status" });
  store.watch((state) => [openTake(state)?.id, openTake(state)?.parent], (id, parent) => {
    if (id && parent) void controls.compareWithParent(id);
  });
  const shown = (/** @type {import("../types.js").State} */ state) => previewedEdit(state) ?? openTake(state);
  store.watch((state) => [shown(state), state.comparisons[shown(state)?.id ?? ""]], (take, found) => {
    line.hidden = !take?.parent || !found;
    if (!take?.parent || !found) return;
    const { kept: same, outside, samples, identical, reason, jumps } = found;
    const rate = take.audio.rate;
    fill(line, icon(identical ? "check" : "warning"),
      h("span", { class: identical ? "good" : reason ? "soft" : "warn" },
        identical ? words.kept.same(count(same), count(samples)) : reason ? words.kept.nothing(reason) : words.kept.changed(count(outside - same), count(outside))),
      outside > 0 && h("span", { class: "legend soft" }, h("span", { class: "swatch", "aria-hidden": "true" }), take.kind === "mix" ? words.kept.before : words.kept.fresh),
      jumps.map(({ at, decibels }) => h("span", { class: "warn" }, words.kept.jump(Number((at / rate).toFixed(2)), decibels))));
  });
  return line;
}
