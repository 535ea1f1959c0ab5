/** Settings, and what stays where. */

import { t } from "../strings.js";
import { settings as words } from "../strings-work.js";
import { h, iconButton } from "./element.js";
import "./more-styles.js";
import { newId } from "./fields.js";
import { whatIsKept } from "./privacy.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../state/storage.js").Settings} Settings */

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function settingsDialog(store, controls) {
  const change = (/** @type {Partial<Settings>} */ settings) => store.send({ type: "settings", settings });
  /**
   * @param {string} label
   * @param {"theme" | "format" | "subtype"} name
   * @param {Record<string, string>} options
   */
  const select = (label, name, options) => {
    const input = h("select", { id: newId(), onchange: () => change({ [name]: Object.keys(options)[input.selectedIndex] }) },
      Object.values(options).map((text) => h("option", {}, text)));
    store.watch((state) => [state.settings[name]], (value) => (input.selectedIndex = Object.keys(options).indexOf(value)));
    return h("div", { class: "field" }, h("label", { htmlFor: input.id }, label), input);
  };
  const box = (/** @type {string} */ label, /** @type {"playWhenDone" | "keys"} */ name) => {
    const input = h("input", { type: "checkbox", onchange: () => change({ [name]: input.checked }) });
    store.watch((state) => [state.settings[name]], (value) => (input.checked = value));
    return h("label", { class: "choice" }, input, label);
  };
  const subtype = select(words.subtype, "subtype", words.subtypes);
  store.watch((state) => [state.settings.format], (format) => (subtype.hidden = format === "mp3"));
  const kept = whatIsKept(store, controls);
  const dialog = h("dialog", { class: "settings", "aria-labelledby": "settings-title" }, h("div", { class: "column" },
    h("div", { class: "row" }, h("h2", { id: "settings-title", class: "grow" }, words.title), iconButton("close", t.close, () => dialog.close())),
    select(words.look, "theme", words.themes), select(words.save, "format", words.formats), subtype,
    box(words.playWhenDone, "playWhenDone"), box(words.keys, "keys"), h("h2", {}, words.privacy), kept.element));
  kept.loadIn(dialog);
  return dialog;
}
