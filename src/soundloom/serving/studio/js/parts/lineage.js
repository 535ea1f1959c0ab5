/** History: the take in the editor, what it was made from, and what was made from it. */

import { api } from "../net/api.js";
import { place } from "../state/actions.js";
import { ago, t } from "../strings.js";
import { narrow } from "./drawers.js";
import { h, iconButton, keyed } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Take} Take */

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function history(store, controls) {
  const list = h("ol", { class: "lineage" });
  const none = h("p", { class: "soft small" }, t.history.none);
  const title = h("h2", { class: "grow" }, t.history.label);
  const fold = iconButton("history", t.history.fold, () => store.send(
    narrow.matches ? { type: "drawer", value: null } : { type: "settings", settings: { historyFolded: !store.state.settings.historyFolded } }));
  const body = h("div", {}, none, list);
  store.watch((state) => [state.settings.historyFolded, state.drawer], (folded) => { // css/layout.css hides what is folded
    fold.setAttribute("aria-expanded", String(narrow.matches || !folded));
    fold.setAttribute("aria-label", narrow.matches ? t.drawer.close : folded ? t.history.unfold : t.history.fold);
  });
  /** @type {Take[]} */
  let family = [];
  const show = () => {
    const open = place(store.state).take;
    const current = family.map((one) => store.state.takes[one.id] ?? one).filter((one) => !one.deleted || one.id === open);
    none.hidden = current.length > 0;
    keyed(list, current.reverse(), (take) => take.id, (take) => node(take, controls), (element, take) => {
      element.firstElementChild?.setAttribute("aria-current", String(take.id === open));
      element.style.setProperty("--depth", String(depth(take, current)));
    });
  };
  store.watch((state) => [place(state).take, Object.keys(state.takes).length], async (open) => {
    family = open ? ((await controls.attempt(() => api.lineage(open))) ?? family) : [];
    show();
  });
  store.watch((state) => [state.takes], show);
  return h("aside", { class: "panel history", "aria-label": t.history.label }, h("div", { class: "row" }, title, fold), body);
}

/**
 * @param {Take} take
 * @param {Controls} controls
 */
function node(take, controls) {
  return h("li", {}, h("button", { type: "button", class: "plain", onclick: () => void controls.open(take.id) },
    h("span", {}, t.kind[/** @type {keyof typeof t.kind} */ (take.kind)] ?? take.kind),
    h("span", { class: "cut" }, take.title || take.prompt),
    h("span", { class: "soft small" }, ago(take.made))));
}

/**
 * How many takes lie between a take and the first of its family.
 * @param {Take} take
 * @param {Take[]} family
 */
function depth(take, family) {
  let found = 0;
  for (let at = family.find((one) => one.id === take.parent); at && found < 20; at = family.find((one) => one.id === at?.parent)) found++;
  return found;
}
