/** Settings, and what stays where: every file that the program keeps, and every connection that it made. */

import { routes } from "../net/library.js";
import { ago, size, t } from "../strings.js";
import { settings as words } from "../strings-work.js";
import { fill, h, iconButton } from "./element.js";
import "./more-styles.js";
import { newId } from "./fields.js";

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
  const kept = h("div", { class: "column", "aria-busy": "true" });
  const dialog = h("dialog", { class: "settings", "aria-labelledby": "settings-title" }, h("div", { class: "column" },
    h("div", { class: "row" }, h("h2", { id: "settings-title", class: "grow" }, words.title), iconButton("close", t.close, () => dialog.close())),
    select(words.look, "theme", words.themes), select(words.save, "format", words.formats), subtype,
    box(words.playWhenDone, "playWhenDone"), box(words.keys, "keys"), h("h2", {}, words.privacy), h("p", {}, words.privacyMore), kept));
  const load = async () => {
    const found = store.state.system?.user === null ? await controls.attempt(routes.kept) : null;
    fill(kept, found && privacy(found), browserKeeps());
    kept.removeAttribute("aria-busy");
  };
  dialog.addEventListener("toggle", (event) => /** @type {ToggleEvent} */ (event).newState === "open" && void load());
  void load();
  return dialog;
}

/** @param {import("../types.js").Kept} kept */
function privacy({ folders, downloads }) {
  const rows = (/** @type {[string, string, string][]} */ list) => h("dl", { class: "kept-files" }, list.map(([name, more, about]) =>
    h("div", {}, h("dt", {}, name, more && h("code", { class: "soft small" }, more)), h("dd", { class: "soft small number" }, about))));
  return [h("h3", { class: "soft small" }, words.files),
    rows(folders.map((one) => [words.folders[/** @type {keyof typeof words.folders} */ (one.name)] ?? one.name, one.path ?? "",
      words.amount(one.files, size(one.bytes))])),
    h("h3", { class: "soft small" }, words.connections),
    downloads.length === 0 ? h("p", {}, words.noConnections)
      : rows(downloads.map((one) => [one.model, words.connection(one.host, one.repository),
        `${words.amount(one.files, size(one.bytes))}, ${ago(one.time)}`]))];
}

/** What this browser keeps, and a button that removes it. */
function browserKeeps() {
  const said = h("span", { class: "soft small", role: "status" });
  const forget = () => {
    for (const key of Object.keys(localStorage).filter((one) => one.startsWith("soundloom"))) localStorage.removeItem(key);
    said.textContent = words.forgotten;
  };
  return [h("p", { class: "small" }, words.browser), h("div", { class: "row" }, h("button", { type: "button", onclick: forget }, words.forget), said)];
}
