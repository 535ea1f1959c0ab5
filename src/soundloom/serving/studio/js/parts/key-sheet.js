/** The sheet of all keys, where those of one letter can be switched off or changed. */

import { KEYS, withKey } from "../state/key-map.js";
import { words } from "../strings-listening.js";
import { t } from "../strings.js";
import { fill, h, iconButton } from "./element.js";
import { fold, newId } from "./fields.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../state/key-map.js").KeyMap} KeyMap */

/** @param {Store} store */
export function keySheet(store) {
  const on = h("input", { type: "checkbox", onchange: () => store.send({ type: "settings", settings: { keys: on.checked } }) });
  store.watch((state) => [state.settings.keys], (value) => (on.checked = value));
  const groups = h("div", { class: "groups" });
  store.watch((state) => [state.settings.keyMap], (map) => fill(groups, words.keys.groups.map(({ name, keys: list }) =>
    h("section", {}, h("h3", {}, name), h("dl", { class: "values" }, list.map(([key, does]) =>
      h("div", {}, h("dt", {}, key.split(" ").map((one) => h("kbd", {}, shown(map, one)))), h("dd", {}, does))))))));
  const dialog = h("dialog", { class: "sheet", "aria-labelledby": "keys-title" }, h("div", { class: "column" },
    h("div", { class: "row" }, h("h2", { id: "keys-title", class: "grow" }, words.keys.title), iconButton("close", t.close, () => dialog.close())),
    groups,
    h("label", { class: "choice" }, on, h("span", {}, words.keys.on, h("span", { class: "soft small" }, words.keys.where))),
    changes(store)));
  return dialog;
}

/**
 * A key as the list names it: the one that a user chose instead.
 * @param {KeyMap} map
 * @param {string} name such as "L", "−" or "Shift+R"
 */
function shown(map, name) {
  const [, before, key] = /^(Shift\+)?(.)$/u.exec(name) ?? [];
  const chosen = map[(key ?? "").toLowerCase().replace("−", "-")];
  return chosen ? (before ?? "") + chosen.toUpperCase() : name;
}

/**
 * A field for each key that can be changed.
 * @param {Store} store
 */
function changes(store) {
  const said = h("p", { role: "status", class: "small" });
  const map = () => store.state.settings.keyMap;
  const set = (/** @type {KeyMap} */ keyMap) => store.send({ type: "settings", settings: { keyMap } });
  const fields = KEYS.map((key) => {
    const does = words.keys.does[key];
    const show = () => (input.value = (map()[key] ?? key).toUpperCase());
    const input = h("input", {
      id: newId(), type: "text", class: "number key", maxLength: 2, autocomplete: "off", spellcheck: false, onfocus: () => input.select(), onblur: show,
      oninput: (/** @type {InputEvent} */ event) => {
        const chosen = (event.data ?? input.value).trim().slice(-1).toLowerCase();
        if (!chosen) return;
        const { map: next, taken } = withKey(map(), key, chosen);
        said.classList.toggle("bad", taken !== "");
        said.textContent = taken ? words.keys.taken(chosen.toUpperCase(), words.keys.does[taken]) : words.keys.now(does, chosen.toUpperCase());
        if (!taken) set(next);
        show();
        input.select();
      },
    });
    store.watch((state) => [state.settings.keyMap], show);
    return h("div", { class: "field" }, h("label", { htmlFor: input.id }, does), h("div", { class: "row" }, input));
  });
  const reset = h("button", { type: "button", onclick: () => (set({}), (said.textContent = "")) }, words.keys.reset);
  store.watch((state) => [Object.keys(state.settings.keyMap).length], (count) => (reset.disabled = count === 0));
  return fold(words.keys.change, h("p", { class: "soft small" }, words.keys.changeMore), h("div", { class: "groups keys" }, fields), said, h("div", { class: "row" }, reset));
}
