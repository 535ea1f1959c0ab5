/** What stays where: every file that the program keeps, and every connection that it made. */

import { routes } from "../net/library.js";
import { ago, size, t } from "../strings.js";
import { settings as words } from "../strings-work.js";
import { fill, h, iconButton } from "./element.js";
import "./more-styles.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function privacyDialog(store, controls) {
  const kept = whatIsKept(store, controls);
  const dialog = h("dialog", { class: "settings", "aria-labelledby": "privacy-title" }, h("div", { class: "column" },
    h("div", { class: "row" }, h("h2", { id: "privacy-title", class: "grow" }, words.privacy),
      iconButton("close", t.close, () => dialog.close())), kept.element));
  kept.loadIn(dialog);
  return dialog;
}

/**
 * The lists, which are asked for when their dialog is opened.
 * @param {Store} store
 * @param {Controls} controls
 */
export function whatIsKept(store, controls) {
  const lists = h("div", { class: "column", "aria-busy": "true" });
  const load = async () => {
    const found = store.state.system?.user === null ? await controls.attempt(routes.kept) : null;
    fill(lists, found && privacy(found), browserKeeps());
    lists.removeAttribute("aria-busy");
  };
  return {
    element: h("div", { class: "column" }, h("p", {}, words.privacyMore), lists),
    /** @param {HTMLDialogElement} dialog */
    loadIn: (dialog) => {
      dialog.addEventListener("toggle", (event) => /** @type {ToggleEvent} */ (event).newState === "open" && void load());
      void load();
    },
  };
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
      : rows(downloads.map((one) => [one.model || words.other, words.connection(one.host, one.repository),
        [one.files ? words.amount(one.files, size(one.bytes)) : words.nothingLeft, one.time ? ago(one.time) : ""].filter(Boolean).join(", ")]))];
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
