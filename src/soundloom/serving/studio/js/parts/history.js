/** The panel of the history. What it shows of a take is loaded with the first one, so that the page opens sooner. */

import { openTake } from "../state/actions.js";
import { t } from "../strings.js";
import { narrow } from "./drawers.js";
import { h, iconButton } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function history(store, controls) {
  const none = h("p", { class: "soft small" }, t.history.none);
  const fold = iconButton("history", t.history.fold, () => store.send(
    narrow.matches ? { type: "drawer", value: null } : { type: "settings", settings: { historyFolded: !store.state.settings.historyFolded } }));
  store.watch((state) => [state.settings.historyFolded, state.drawer], (folded) => { // css/layout.css hides what is folded
    fold.setAttribute("aria-expanded", String(narrow.matches || !folded));
    fold.setAttribute("aria-label", narrow.matches ? t.drawer.close : folded ? t.history.unfold : t.history.fold);
  });
  const tree = h("div", { class: "tree" }, none);
  const panel = h("aside", { class: "panel history", "aria-label": t.history.label },
    h("div", { class: "row" }, h("h2", { class: "grow" }, t.history.label), fold), tree);
  const stop = store.watch((state) => [openTake(state) !== null], async (isOpen) => {
    if (!isOpen) return;
    queueMicrotask(() => stop());
    const [{ lineage }, { openTakeDetails }] = await Promise.all([import("./lineage.js"), import("./details.js")]);
    const [steps, list, actions] = lineage(store, controls, none);
    fold.before(steps);
    tree.append(list);
    panel.append(actions, openTakeDetails(store, controls));
  });
  return panel;
}
