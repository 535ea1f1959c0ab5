/** History: the take in the editor, what it was made from, what was made from it, and what can be done with it. */

import { api } from "../net/api.js";
import { openTake, place } from "../state/actions.js";
import { againBody } from "../state/request.js";
import { branchOf, changeOf, grown, rowsOf } from "../state/lineage.js";
import { ago, t } from "../strings.js";
import { fill, h, icon, iconButton, keyed } from "./element.js";
import { newId } from "./fields.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Take} Take */
/** @typedef {import("../state/lineage.js").Row} Row */

const ICONS = /** @type {const} */ ({
  generate: "add", vary: "wave", inpaint: "region", extend: "extend", loop: "loop", edit: "edit", upload: "upload", mix: "compare",
});

/**
 * @param {Store} store
 * @param {Controls} controls
 * @param {HTMLElement} none  said while there is no take
 * @returns {[steps: HTMLElement, list: HTMLElement, actions: HTMLElement]}
 */
export function lineage(store, controls, none) {
  const list = h("ol", { class: "lineage" });
  /** @type {Take[]} */
  let asked = [];
  const family = () => grown(asked, store.state.takes);
  const current = () => family().filter((one) => !one.deleted || one.id === place(store.state).take);
  const show = () => {
    const takes = current();
    none.hidden = takes.length > 0;
    keyed(list, rowsOf(takes), (row) => row.take.id, (row) => node(row.take, controls), (element, row) =>
      update(element, row, takes.find((one) => one.id === row.take.parent), row.take.id === place(store.state).take));
  };
  store.watch((state) => [place(state).take], async (open) => {
    const found = open ? ((await controls.attempt(() => api.lineage(open))) ?? asked) : [];
    if (open !== place(store.state).take) return; // another was opened meanwhile
    asked = found;
    show();
  });
  store.watch((state) => [state.takes], show);
  return [steps(store), list, thisTake(store, controls, family)];
}

/** Undo and redo: takes, regions and selections in one list. @param {Store} store */
function steps(store) {
  const buttons = /** @type {const} */ (["undo", "redo"]).map((type) =>
    iconButton(type === "undo" ? "back" : "forward", t.history[type], () => store.send({ type })));
  store.watch((state) => [state.undo], ({ nodes, at }) => {
    buttons[0].disabled = nodes[at].parent < 0;
    buttons[1].disabled = nodes[at].next < 0;
  });
  return h("span", { class: "row steps" }, buttons);
}

/**
 * @param {Take} take
 * @param {Controls} controls
 */
function node(take, controls) {
  return h("li", {}, h("button", { type: "button", class: "plain", onclick: () => void controls.open(take.id) }));
}

/**
 * @param {HTMLElement} element
 * @param {Row} row
 * @param {Take | undefined} parent
 * @param {boolean} open
 */
function update(element, { take, depth, root }, parent, open) {
  const button = /** @type {HTMLElement} */ (element.firstElementChild);
  button.setAttribute("aria-current", String(open));
  element.style.setProperty("--depth", String(Math.min(depth, 8)));
  element.classList.toggle("root", root);
  const { kind, amount } = changeOf(take, parent);
  const words = take.title || (take.prompt !== parent?.prompt ? take.prompt : "") || take.audio.name;
  const seed = take.record.seed === undefined ? "" : `${t.candidates.seed(take.record.seed)} · `;
  const key = [take.title, take.favorite, words, amount, root].join(" ");
  if (button.dataset.shown === key) return;
  button.dataset.shown = key;
  fill(button, h("span", { class: "dot" }, icon(ICONS[/** @type {keyof typeof ICONS} */ (kind)] ?? "add")),
    h("span", { class: "what" }, h("span", { class: "row small" }, t.history.change(kind, amount), take.favorite && icon("star")),
      words && h("span", { class: "words-of" }, words), h("span", { class: "soft small" }, seed, ago(take.made))));
}

/**
 * What can be done with the take in the editor.
 * @param {Store} store
 * @param {Controls} controls
 * @param {() => Take[]} family
 */
function thisTake(store, controls, family) {
  const id = newId();
  const open = () => /** @type {Take} */ (openTake(store.state));
  const rename = () => void controls.changeTake(open().id, { title: name.value.trim() });
  const name = h("input", { id, type: "text", maxLength: 200, autocomplete: "off", class: "grow", onchange: rename });
  const said = h("p", { class: "small soft", role: "status" });
  /** @type {(what: keyof typeof t.history.do, shape: Parameters<typeof icon>[0], act: () => unknown) => HTMLElement} */
  const make = (what, shape, act) =>
    h("button", { type: "button", class: "plain act", "data-role": what, onclick: act }, icon(shape), t.history.do[what]);
  const copy = (/** @type {"command" | "python" | "job"} */ form) => async () => {
    const found = await controls.recipe(open().id);
    if (found) fill(said, await copied(form === "job" ? JSON.stringify(found.job, null, 2) : found[form], t.history.copied[form]));
  };
  const hide = async () => {
    const ids = branchOf([open().id], family()).filter((one) => !store.state.takes[one]?.deleted);
    for (const one of ids) await controls.remove(one);
    const restore = h("button", { type: "button", onclick: async () => {
      for (const one of ids) await controls.restore(one);
      fill(said);
    } }, t.library.restore);
    fill(said, t.history.hidden(ids.length), " ", restore);
  };
  const made = [
    make("recall", "back", () => void controls.recall(open().id)), make("again", "dice", () => void controls.again(open().id)),
    h("div", { class: "row copies" }, h("span", { class: "soft small" }, t.history.copy),
      /** @type {const} */ (["command", "python", "job"]).map((form) =>
        h("button", { type: "button", class: "chip", onclick: copy(form) }, t.history.form[form]))),
  ];
  const box = h("div", { class: "this column tight", role: "group", "aria-label": t.history.thisTake },
    h("div", { class: "row name" }, h("label", { htmlFor: id, class: "soft small" }, t.history.name), name), made, make("hide", "trash", hide), said);
  store.watch((state) => [openTake(state)], (take) => {
    box.hidden = take === null;
    if (!take) return;
    if (document.activeElement !== name) name.value = take.title;
    name.placeholder = take.prompt || take.audio.name;
    const can = againBody(take, 1) !== null;
    for (const element of made) element.hidden = !can;
  });
  store.watch((state) => [place(state).take], () => said.querySelector("button") ?? fill(said));
  return box;
}

/**
 * Copy a text; where the page may not, show it, to be copied by hand.
 * @param {string} text
 * @param {string} done
 * @returns {Promise<Node | string>}
 */
async function copied(text, done) {
  try {
    await navigator.clipboard.writeText(text);
    return done;
  } catch {
    const area = h("textarea", { class: "grow", rows: 6, readOnly: true, value: text, "aria-label": t.history.copyByHand });
    queueMicrotask(() => area.select());
    return area;
  }
}
