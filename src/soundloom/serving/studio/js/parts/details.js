/** What is known about a take and what users say about it: name, tags, note, record; save it, or show its file. */

import { createCollecting } from "../collecting.js";
import { routes, saveAddress } from "../net/library.js";
import { openTake } from "../state/actions.js";
import { ago, count, duration, t } from "../strings.js";
import { details as words, library } from "../strings-library.js";
import { handle } from "./drag-out.js";
import { fill, h, icon, iconButton } from "./element.js";
import "./more-styles.js";
import { newId } from "./fields.js";
import { findFile, nameOf } from "./takes-list.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../collecting.js").Collecting} Collecting */
/** @typedef {import("../types.js").Take} Take */

const SUBTYPES = /** @type {Record<string, string>} */ ({ PCM_16: "16 bit", PCM_24: "24 bit", FLOAT: "32 bit float" });

/**
 * The dialog about any take.
 * @param {Store} store
 * @param {Controls} controls
 * @param {Collecting} collecting
 */
export function aboutTake(store, controls, collecting) {
  const title = h("h2", { id: "about-take", class: "grow cut" });
  const body = h("div", { class: "column" });
  const dialog = h("dialog", { class: "about-take", "aria-labelledby": "about-take" }, h("div", { class: "row head" }, title,
    iconButton("close", t.close, () => dialog.close())), body);
  let shown = "";
  const show = (/** @type {string} */ id) => {
    const take = () => /** @type {Take} */ (store.state.takes[id]);
    shown = id;
    title.textContent = nameOf(take());
    const name = h("input", {
      type: "text", maxLength: 200, value: take().title, placeholder: take().prompt || take().audio.name, autocomplete: "off",
      onchange: () => void controls.changeTake(id, { title: name.value.trim() }),
    });
    const tags = h("div", {});
    fill(body, field(words.name, name), tags, noteField(controls, take), facts(take()),
      actions(store, controls, id, () => dialog.close()), record(take()));
    fill(tags, tagFields(collecting, take));
    dialog.showModal();
  };
  store.watch((state) => [state.takes[shown]], (take) => {
    if (!take || !dialog.open) return;
    title.textContent = nameOf(take);
    const box = body.querySelector(".tag-fields");
    if (box) showTags(/** @type {HTMLElement} */ (box), collecting, take);
  });
  return { dialog, open: show };
}

/**
 * Tags and note of the take in the editor, below its history.
 * @param {Store} store
 * @param {Controls} controls
 */
export function openTakeDetails(store, controls) {
  const collecting = createCollecting(store, controls.attempt);
  const box = h("div", { class: "column details", role: "group", "aria-label": words.title });
  let shown = "";
  store.watch((state) => [openTake(state)], (take) => {
    box.hidden = take === null;
    if (!take) return;
    if (shown !== take.id) {
      shown = take.id;
      const current = () => store.state.takes[take.id];
      fill(box, tagFields(collecting, current), noteField(controls, current), actions(store, controls, take.id, null));
    } else {
      showTags(/** @type {HTMLElement} */ (box.querySelector(".tag-fields")), collecting, take);
    }
  });
  return box;
}

/**
 * @param {string} text
 * @param {HTMLElement} input
 */
function field(text, input) {
  input.id = newId();
  return h("div", { class: "column tight" }, h("label", { htmlFor: input.id, class: "soft small" }, text), input);
}

/**
 * @param {Controls} controls
 * @param {() => Take} take
 */
function noteField(controls, take) {
  const area = h("textarea", { rows: 2, maxLength: 10_000, value: take().note, placeholder: words.noteHint,
    onchange: () => void controls.changeTake(take().id, { note: area.value }) });
  return field(words.note, area);
}

/**
 * The tags of a take, each with a button that removes it, and a field for another one.
 * @param {Collecting} collecting
 * @param {() => Take} take
 */
function tagFields(collecting, take) {
  const known = h("datalist", { id: newId() });
  const add = () => {
    const tag = input.value.trim();
    input.value = "";
    if (tag && !take().tags.includes(tag)) void collecting.tag([take().id], tag);
  };
  const input = h("input", {
    type: "text", maxLength: 60, placeholder: library.tagHint, autocomplete: "off", onchange: add,
    onkeydown: (/** @type {KeyboardEvent} */ event) => event.key === "Enter" && (event.preventDefault(), add()),
    onfocus: async () => known.replaceChildren(...(await collecting.tags()).map(({ tag }) => h("option", { value: tag }))),
  });
  input.setAttribute("list", known.id);
  const list = h("ul", { class: "row tag-fields" });
  showTags(list, collecting, take());
  return h("div", { class: "column tight" }, field(words.tags, input), list, known);
}

/**
 * @param {HTMLElement} list
 * @param {Collecting} collecting
 * @param {Take} take
 */
function showTags(list, collecting, take) {
  list.hidden = take.tags.length === 0;
  fill(list, take.tags.map((tag) => h("li", { class: "tag row" }, h("span", { class: "cut" }, tag),
    iconButton("close", library.untag(tag), () => void collecting.untag([take.id], tag)))));
}

/** @param {Take} take */
function facts(take) {
  const { audio, record } = take;
  const kind = t.kind[/** @type {keyof typeof t.kind} */ (take.kind)] ?? take.kind;
  /** @type {[string, string | undefined][]} */
  const rows = [
    [words.facts.kind, `${kind} ${ago(take.made)}`],
    [words.facts.prompt, take.title ? take.prompt : ""],
    [words.facts.model, record.model],
    [words.facts.seed, record.seed === undefined ? "" : String(record.seed)],
    [words.facts.length, `${duration(audio.seconds)} · ${t.editor.exact(count(audio.samples), audio.rate)}`],
    [words.facts.rate, `${words.channels(audio.channels)}, ${SUBTYPES[audio.subtype] ?? audio.subtype}`],
    [words.facts.file, take.file ?? audio.name],
  ];
  return h("dl", { class: "values" }, rows.filter(([, value]) => value).map(([name, value]) =>
    h("div", {}, h("dt", { class: "soft" }, name), h("dd", {}, value))));
}

/**
 * @param {Store} store
 * @param {Controls} controls
 * @param {string} id
 * @param {(() => void) | null} close null: the take is in the editor
 */
function actions(store, controls, id, close) {
  const take = store.state.takes[id];
  const button = (/** @type {string} */ text, /** @type {() => void} */ act) =>
    h("button", { type: "button", onclick: () => (close?.(), act()) }, text);
  const like = close && take.record.request && button(words.like, () => void controls.recall(id, true));
  if (take.audio.missing) {
    return h("div", { class: "row actions" }, h("span", { class: "warn row" }, icon("warning"), library.missing),
      button(words.find, () => findFile(store, controls, id)), like);
  }
  const { format } = store.state.settings;
  const save = h("a", { class: "button", download: "", href: saveAddress(id, store.state.settings) }, icon("download"),
    words.saveMore(format.toUpperCase()));
  save.addEventListener("pointerdown", () => (save.href = saveAddress(id, store.state.settings)));
  const open = close && h("button", { type: "button", class: "main", onclick: () => (close(), void controls.open(id)) }, words.openIt);
  const recall = close && take.record.request && button(words.recall, () => void controls.recall(id));
  const folder = Boolean(store.state.system?.output?.folder && take.file) &&
    h("button", { type: "button", onclick: () => void controls.attempt(() => routes.show(id)) }, icon("folder"), words.show);
  return h("div", { class: "row actions" }, open, recall, like, save, handle(store, id), folder);
}

/** @param {Take} take */
function record(take) {
  if (Object.keys(take.record).length === 0) return h("p", { class: "soft small" }, words.noRecord);
  const text = JSON.stringify(take.record, null, 2);
  return h("details", { class: "fold" }, h("summary", {}, words.record),
    h("pre", { class: "small", tabIndex: 0, role: "group", "aria-label": words.record }, text));
}
