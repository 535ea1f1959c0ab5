/** The prompt: its text with marks under words that the model does not know, kinds of sound, dice, templates, notes. */

import { drawPrompts } from "../making.js";
import { api, ApiError } from "../net/api.js";
import { usedModel } from "../state/actions.js";
import { markedPieces, promptNotes, withStart } from "../state/prompt.js";
import { earlierPrompts } from "../state/storage.js";
import { t } from "../strings.js";
import { fill, h, icon, iconButton } from "./element.js";
import { labeled, newId, segments, shownIf } from "./fields.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function promptPart(store, controls) {
  const { area, earlier } = textArea(store, controls);
  const template = templateFields(store);
  const counter = h("span", { class: "soft small number counter" });
  store.watch((state) => [state.reading], (reading) => {
    const { tokens = null, limit = null } = reading ?? {};
    counter.hidden = tokens === null || limit === null || tokens < 0.75 * limit;
    counter.textContent = tokens === null || limit === null ? "" : t.words.counter(Math.min(tokens, limit), limit);
    counter.classList.toggle("warn", tokens !== null && limit !== null && tokens > limit);
  });
  const dice = iconButton("dice", t.words.dice, async () => {
    const text = store.state.prompts?.random;
    if (text) store.send({ type: "words", words: { prompt: text } });
    await drawPrompts(store);
  });
  const tools = h("div", { class: "row tools" }, shownIf(store, dice, (state) => state.words.mode !== "edit"),
    template.button, earlier, h("span", { class: "grow" }), counter);
  return h("div", { class: "column prompt-part always" }, kinds(store), area, tools, template.body, notes(store));
}

/**
 * The text. Beneath it lies a copy that shows only the marks.
 * @param {Store} store
 * @param {Controls} controls
 */
function textArea(store, controls) {
  const marks = h("div", { class: "marks-below", "aria-hidden": "true" });
  const noteId = "prompt-notes";
  const area = h("textarea", {
    id: "prompt", rows: 4, placeholder: t.promptHint, "aria-label": t.prompt, "aria-describedby": noteId, maxLength: 10_000, spellcheck: false,
    oninput: () => {
      at = -1;
      store.send({ type: "words", words: { prompt: area.value } });
    },
    onscroll: () => (marks.scrollTop = area.scrollTop),
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        void controls.submit();
      } else if (event.key === "ArrowUp" && area.selectionStart === 0 && area.selectionEnd === 0) {
        event.preventDefault();
        step(1);
      } else if (event.key === "ArrowDown" && at >= 0 && area.selectionStart === area.value.length) {
        event.preventDefault();
        step(-1);
      }
    },
  });
  let at = -1;
  let typed = "";
  const step = (/** @type {number} */ by) => {
    const known = earlierPrompts();
    if (at < 0) typed = area.value;
    let next = at + by;
    if (at < 0 && known[next] === typed) next++;
    if (next >= known.length) return;
    at = Math.max(-1, next);
    store.send({ type: "words", words: { prompt: at < 0 ? typed : known[at] } });
    queueMicrotask(() => (by > 0 ? area.setSelectionRange(0, 0) : area.setSelectionRange(area.value.length, area.value.length)));
  };
  store.watch((state) => [state.words.prompt, state.reading], (text, reading) => {
    if (area.value !== text) area.value = text;
    const pieces = markedPieces(text, reading?.unknown ?? []);
    fill(marks, pieces.map((piece) => (piece.unknown ? h("mark", {}, piece.text) : piece.text)), "\n");
    area.setAttribute("aria-invalid", String(Boolean(reading?.problem)));
  });
  store.watch((state) => [state.words.mode], (mode) => (area.placeholder = mode === "edit" ? t.edit.hint : t.promptHint));
  return { area: h("div", { class: "prompt always" }, marks, area), earlier: iconButton("up", t.words.earlier, () => step(1)) };
}

/**
 * Kinds of sound that the model knows: for mini its ten, for others the types of track that they were trained on.
 * @param {Store} store
 */
function kinds(store) {
  const box = h("div", { class: "kinds", role: "group", "aria-label": t.words.kinds });
  const reason = h("p", { class: "soft small" });
  const whole = h("div", { class: "column tight" }, box, reason);
  /** @type {ReturnType<typeof trackTypes>} */
  let tracks = [];
  const press = () => tracks.forEach(({ button, start }) =>
    button.setAttribute("aria-pressed", String(start !== "" && store.state.words.prompt.startsWith(start))));
  store.watch((state) => [state.words.prompt], press);
  store.watch((state) => [state.prompts, state.models, state.model, state.words.mode], (prompts, _models, name, mode) => {
    const model = usedModel(store.state);
    const some = prompts?.model === name && prompts.sounds.length + prompts.templates.length > 0;
    whole.hidden = mode === "edit" || !some;
    if (whole.hidden || !prompts || !model) return;
    if (prompts.sounds.length > 0) {
      fill(box, prompts.sounds.map((sound) => h("button", { type: "button", class: "chip", title: sound.prompt, onclick: () => {
        store.send({ type: "words", words: { prompt: sound.prompt } });
        void drawPrompts(store);
      } }, t.words.sound[/** @type {keyof typeof t.words.sound} */ (sound.name)] ?? sound.name)));
      reason.textContent = "";
    } else {
      tracks = trackTypes(store, prompts);
      fill(box, tracks.map((one) => one.button));
      press();
      const missing = ["music", "instrument", "sfx"].filter((one) => !prompts.templates.some((template) => template.name === one));
      reason.textContent = missing.includes("sfx") ? t.words.noEffects(name) : missing.length > 0 ? t.words.onlyEffects(name) : "";
    }
    reason.hidden = !reason.textContent;
  });
  return whole;
}

/**
 * @param {Store} store
 * @param {import("../types.js").Prompts} prompts
 */
function trackTypes(store, prompts) {
  return Object.entries(t.words.track).map(([name, label]) => {
    const found = prompts.templates.find((one) => one.name === name);
    const start = found?.start ?? "";
    const button = h("button", { type: "button", class: "chip", disabled: !found, title: start, onclick: () => {
      const starts = prompts.templates.map((one) => one.start);
      store.send({ type: "words", words: { prompt: withStart(store.state.words.prompt, starts, start) } });
    } }, label);
    return { button, start };
  });
}

/**
 * What is worth knowing about the prompt, in sentences.
 * @param {Store} store
 */
function notes(store) {
  const list = h("ul", { id: "prompt-notes", class: "small column tight", role: "status" });
  store.watch((state) => [state.reading, state.words.mode, state.words.prompt, state.model, state.models], (reading, mode, text, name) => {
    const found = reading ? promptNotes(reading, text, usedModel(store.state), mode) : [];
    fill(list, found.map((note) => h("li", { class: `row top ${note.bad ? "warn" : "soft"}` },
      icon(note.bad ? "warning" : "help"), h("span", { class: "grow" }, t.words.note(note, name)))));
    list.hidden = found.length === 0;
  });
  return list;
}

const TYPING_MS = 150;

/**
 * Templates: genre, instruments, tempo and more, written as in the captions that the model was trained on.
 * @param {Store} store
 * @returns {{button: HTMLButtonElement, body: HTMLElement}}
 */
export function templateFields(store) {
  let name = "";
  let words = "";
  let timer = 0;
  /** @type {Record<string, string>} */
  const values = {};
  const fields = h("div", { class: "column tight" });
  const problem = h("p", { class: "bad small", role: "alert" });
  const choice = h("div", {});
  const body = h("div", { class: "panel template column", role: "group", "aria-label": t.words.template, hidden: true }, choice, fields, problem);

  const write = () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      try {
        const { prompt } = await api.template({ name, values, description: words, model: store.state.model });
        store.send({ type: "words", words: { prompt } });
        problem.textContent = "";
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        problem.textContent = error.message;
      }
    }, TYPING_MS);
  };
  const show = () => {
    const found = store.state.prompts?.templates.find((one) => one.name === name);
    const shown = t.words.templateKeys;
    fill(fields, (found?.keys ?? []).filter((key) => key in shown).map((key) => {
      const id = newId();
      const { label, example } = shown[/** @type {keyof typeof shown} */ (key)];
      const input = h("input", {
        id, type: "text", class: "grow", value: values[key] ?? "", placeholder: example, autocomplete: "off",
        oninput: () => {
          values[key] = input.value;
          write();
        },
      });
      return labeled(label, id, input);
    }));
  };
  const button = iconButton("list", t.words.template, () => {
    body.hidden = !body.hidden;
    button.setAttribute("aria-expanded", String(!body.hidden));
    if (body.hidden) return;
    const text = store.state.words.prompt;
    words = /^TrackType:/i.test(text) ? "" : text;
    show();
    /** @type {HTMLElement | null} */ (body.querySelector("input, button"))?.focus();
  }, { "aria-expanded": "false" });
  store.watch((state) => [state.prompts], (prompts) => {
    const names = (prompts?.templates ?? []).map((one) => one.name);
    button.hidden = names.length === 0 || (prompts?.sounds.length ?? 0) > 0;
    if (button.hidden) body.hidden = true;
    if (!names.includes(name)) name = names[0] ?? "";
    const labels = t.words.track;
    const choices = names.map((value) => ({ value, label: labels[/** @type {keyof typeof labels} */ (value)] }));
    fill(choice, names.length > 1 && segments(store, t.words.template, choices,
      () => name, (value) => {
        name = value;
        for (const key of Object.keys(values)) delete values[key];
        choice.querySelectorAll("button").forEach((one, index) => one.setAttribute("aria-pressed", String(names[index] === value)));
        show();
        write();
      }));
    if (!body.hidden) show();
  });
  return { button, body };
}
