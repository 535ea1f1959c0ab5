/** The library: all takes, found by words, chosen and changed at once. */

import { createCollecting } from "../collecting.js";
import { tagWord, toggleWord } from "../state/search.js";
import { size } from "../strings.js";
import { library as words } from "../strings-library.js";
import { aboutTake } from "./details.js";
import { fill, h, icon, popover } from "./element.js";
import "./more-styles.js";
import { selectionBar } from "./selection.js";
import { takesList } from "./takes-list.js";
import { toast } from "./toast.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../collecting.js").Collecting} Collecting */

const TYPING_MS = 60;
const CHANGE_MS = 250; // several changes are one question
const TAGS = 8; // beside the search
const ORDERS = /** @type {const} */ (["newest", "oldest", "title", "longest", "shortest"]);

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function library(store, controls) {
  const collecting = createCollecting(store, controls.attempt);
  const about = aboutTake(store, controls, collecting);
  const screen = h("div", { class: "screen library column" }, h("h1", { class: "hidden-text" }, words.label),
    tools(store, collecting), empty(store, collecting), takesList(store, controls, collecting, about.open),
    selectionBar(store, collecting), toast(store, collecting), about.dialog);
  let timer = 0;
  store.watch((state) => [state.screen === "library" && state.connection === "open", state.library.changes], (visible) => {
    clearTimeout(timer);
    if (visible) timer = setTimeout(collecting.refresh, store.state.library.count === null ? 0 : CHANGE_MS);
  });
  return screen;
}

/**
 * The search, its filters and the order.
 * @param {Store} store
 * @param {Collecting} collecting
 */
function tools(store, collecting) {
  const amount = h("span", { class: "soft small", role: "status" });
  const free = h("span", { class: "soft small" });
  const order = choice(words.order, ORDERS.map((name) => words.orders[name]), (index) => collecting.search({ order: ORDERS[index] }));
  const shown = choice(words.shown, [words.takes, words.deleted], (index) => collecting.search({ deleted: index === 1 }));
  store.watch((state) => [state.library.order, state.library.deleted, state.library.count], (by, deleted, count) => {
    order.selectedIndex = ORDERS.indexOf(by);
    shown.selectedIndex = deleted ? 1 : 0;
    amount.textContent = count === null ? "" : words.count(count);
  });
  store.watch((state) => [state.system?.disk.free], (bytes) => (free.textContent = bytes === undefined ? "" : words.free(size(bytes))));
  return h("div", { class: "tools column", role: "search" },
    h("div", { class: "row" }, searchField(store, collecting), order, shown),
    h("div", { class: "row below" }, filters(store, collecting), h("span", { class: "grow" }), amount, free));
}

/**
 * @param {string} label
 * @param {string[]} names
 * @param {(index: number) => void} choose
 */
function choice(label, names, choose) {
  const select = h("select", { "aria-label": label, title: label, onchange: () => choose(select.selectedIndex) },
    names.map((name) => h("option", {}, name)));
  return select;
}

/**
 * @param {Store} store
 * @param {Collecting} collecting
 */
function searchField(store, collecting) {
  let timer = 0;
  const field = h("input", {
    type: "search", "aria-label": words.search, placeholder: words.searchHint, maxLength: 500, class: "grow", autocomplete: "off", spellcheck: false,
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(() => collecting.search({ query: field.value }), TYPING_MS);
    },
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "ArrowDown") return;
      event.preventDefault();
      /** @type {HTMLElement | null} */ (document.querySelector(".library .takes .name"))?.focus();
    },
  });
  store.watch((state) => [state.library.query], (query) => {
    if (document.activeElement !== field) field.value = query;
  });
  const help = popover(words.searchHelp, icon("help"), async () => [h("dl", { class: "examples" },
    words.examples.map(([word, finds]) => [h("dt", {}, h("code", {}, word)), h("dd", { class: "small" }, finds)]).flat())]);
  return h("div", { class: "row grow search" }, icon("search"), field, help.button, help.panel);
}

/**
 * Favorites and the most frequent tags as buttons: they are words of the search too.
 * @param {Store} store
 * @param {Collecting} collecting
 */
function filters(store, collecting) {
  const box = h("div", { class: "row filters", role: "group", "aria-label": words.filters });
  /** @type {string[]} */
  let tags = [];
  const show = () => {
    const { query } = store.state.library;
    const chip = (/** @type {string} */ word, /** @type {import("./element.js").Child[]} */ ...face) => h("button", {
      type: "button", class: "chip", "data-word": word, "aria-pressed": String(query.includes(word)),
      onclick: () => void collecting.search({ query: toggleWord(store.state.library.query, word) }),
    }, ...face);
    fill(box, chip("★", icon("star"), words.favorites), tags.map((tag) => chip(tagWord(tag), icon("tag"), h("span", { class: "cut" }, tag))));
  };
  store.watch((state) => [state.library.query], show);
  let timer = 0;
  store.watch((state) => [state.screen === "library" && state.connection === "open", state.library.changes], (visible) => {
    clearTimeout(timer);
    if (visible) timer = setTimeout(async () => {
      tags = (await collecting.tags()).slice(0, TAGS).map(({ tag }) => tag);
      show();
    }, CHANGE_MS);
  });
  return box;
}

/**
 * What stands where there are no takes.
 * @param {Store} store
 * @param {Collecting} collecting
 */
function empty(store, collecting) {
  const text = h("p", { class: "soft" });
  const clear = h("button", { type: "button", onclick: () => void collecting.search({ query: "" }) }, words.clearSearch);
  const box = h("div", { class: "empty column" }, text, clear);
  store.watch((state) => [state.library.count, state.library.query, state.library.deleted], (count, query, deleted) => {
    box.hidden = count !== 0;
    clear.hidden = !query;
    text.textContent = query ? words.none : deleted ? words.emptyDeleted : words.empty;
  });
  return box;
}
