/** Words and settings, and the main button. */

import { openTake, place, usedModel } from "../state/actions.js";
import { modelsFor, obstacle, passesOf } from "../state/request.js";
import { readSession } from "../state/storage.js";
import { duration, sentence, t } from "../strings.js";
import { asks, changed, editWords, more } from "./asks.js";
import { drawerButton } from "./drawers.js";
import { fill, h } from "./element.js";
import { fold, segments, shownIf } from "./fields.js";
import { promptPart } from "./prompt.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").State} State */

/** @type {("make" | "vary" | "remake" | "extend" | "edit")[]} */
const MODES = ["make", "vary", "remake", "extend", "edit"];

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function words(store, controls) {
  const settings = more(store);
  store.watch((state) => [changed(state)], (count) => fill(/** @type {Element} */ (settings.firstElementChild), t.more.title(count)));
  return h("section", { class: "panel words", "aria-label": t.words.label },
    h("div", { class: "column body always" },
      segments(store, t.mode.label, MODES.map((value) => ({ value, label: t.mode[value] })), (state) => state.words.mode,
        (mode) => store.send({ type: "words", words: { mode } })),
      editWords(store), promptPart(store, controls), asks(store, controls), adapters(store, controls), settings),
    mainButton(store, controls));
}

/**
 * The fold of adapters, which most takes do without: what is inside is loaded when it is opened.
 * @param {Store} store
 * @param {Controls} controls
 */
function adapters(store, controls) {
  const title = h("span", {});
  store.watch((state) => [state.words.loras], (uses) => (title.textContent = t.loras.title(uses.filter((use) => use.on).length)));
  const body = h("div", { class: "column" });
  const element = fold(title, body);
  element.addEventListener("toggle", async () => fill(body, (await import("./loras.js")).loras(store, controls)), { once: true });
  return shownIf(store, element, (state) => usedModel(state)?.music !== true);
}

/**
 * @param {Store} store
 * @param {Controls} controls
 */
function mainButton(store, controls) {
  const button = h("button", { type: "button", class: "main big grow",
    onclick: (/** @type {MouseEvent} */ event) => void (event.detail < 2 && controls.submit()) }); // a double click makes no second job
  const note = h("p", { class: "soft small", "aria-live": "polite" });
  store.watch(
    (state) => [label(state), obstacle(state), state.check, state.refusal, state.model],
    (text, reason, check, refusal, model) => {
      button.textContent = text;
      button.disabled = reason !== null || refusal !== null;
      note.classList.toggle("warn", refusal !== null);
      const { mode } = store.state.words;
      if (reason) fill(note, reason === "mode" ? t.obstacle.mode(model, mode) : t.obstacle[reason], " ", way(store, reason));
      else if (refusal) fill(note, sentence(refusal.message), " ", h("span", { class: "soft" }, sentence(refusal.hint)));
      else if (check) fill(note, t.about(check.estimated_seconds), notes(check));
      else fill(note, "\u00a0");
    },
  );
  if (!readSession().words) focusOnce(store, button);
  return h("div", { class: "column tight go always" }, h("div", { class: "row" }, button, drawerButton(store, "words")), note);
}

/**
 * On the first visit the button can be pressed at once.
 * @param {Store} store
 * @param {HTMLElement} button
 */
function focusOnce(store, button) {
  const stop = store.watch((state) => [state.check], (check) => {
    if (!check) return;
    queueMicrotask(() => stop());
    if (document.activeElement === document.body) button.focus();
  });
}

/**
 * A way out of what stands in the way: another model.
 * @param {Store} store
 * @param {NonNullable<ReturnType<typeof obstacle>>} reason
 */
function way(store, reason) {
  if (reason !== "mode" && reason !== "model") return null;
  const [other] = modelsFor(store.state, store.state.words.mode);
  if (!other) return null;
  if (!other.installed || other.id === store.state.model) return h("a", { href: "#models" }, t.words.get(other.id));
  return h("button", { type: "button", class: "chip", onclick: () => store.send({ type: "model", name: other.id }) }, t.words.use(other.id));
}

/** @param {State} state */
function label(state) {
  const { mode, count, before, after } = state.words;
  if (mode === "vary") return t.button.vary(count);
  if (mode === "remake") return t.button.remake(place(state).regions.length, passesOf(state).length);
  if (mode === "extend") return t.button.extend(before > 0 ? duration(before) : "", after > 0 || before <= 0 ? duration(after) : "");
  return mode === "edit" ? t.button.edit : t.button.make(openTake(state) || count ? count : 1);
}

/**
 * What the server says about the job, in short; how an instruction is understood stands below the prompt.
 * @param {import("../types.js").Check} check
 */
function notes(check) {
  const found = new Set(check.clips.flatMap((clip) => clip.notes).filter((note) => !note.includes("is understood as")));
  return [...found].map((note) => h("span", {}, ` · ${shortened(note)}`));
}

/** @param {string} note */
function shortened(note) {
  const passes = /generated in (\d+) passes/.exec(note);
  return passes ? t.inPasses(Number(passes[1])) : note;
}
