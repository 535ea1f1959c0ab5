/** The library: all takes, found by words. */

import { api } from "../net/api.js";
import { ago, duration, t } from "../strings.js";
import { thumbnail } from "../view/thumbnail.js";
import { h, iconButton, keyed } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").Take} Take */

const TYPING_MS = 150;

/**
 * @param {Store} store
 * @param {Controls} controls
 */
export function library(store, controls) {
  const list = h("ul", { class: "takes" });
  const amount = h("span", { class: "soft", role: "status" });
  const none = h("p", { class: "soft" });
  /** @type {string[]} */
  let ids = [];
  let timer = 0;
  const show = () => keyed(list, ids.map((id) => store.state.takes[id]).filter((take) => take && !take.deleted),
    (take) => take.id, (take) => row(take, store, controls), (element, take) => update(element, take));
  const find = async () => {
    const query = new URLSearchParams({ limit: "200", text: search.value });
    const found = await controls.attempt(() => api.takes(query));
    if (!found) return;
    store.send({ type: "takes", takes: found.takes });
    ids = found.takes.map((take) => take.id);
    amount.textContent = t.library.count(found.count);
    none.textContent = search.value ? t.library.none : t.library.empty;
    none.hidden = ids.length > 0;
    show();
  };
  const search = h("input", {
    type: "search", "aria-label": t.library.search, placeholder: t.library.searchHint, class: "grow",
    oninput: () => {
      clearTimeout(timer);
      timer = setTimeout(find, TYPING_MS);
    },
  });
  store.watch((state) => [state.screen === "library" && state.connection === "open"], (visible) => void (visible && find()));
  store.watch((state) => [state.takes], show);
  return h("div", { class: "screen library column" },
    h("h1", { class: "hidden-text" }, t.library.label), h("div", { class: "row" }, search, amount), none, list);
}

/**
 * @param {Take} take
 * @param {Store} store
 * @param {Controls} controls
 */
function row(take, store, controls) {
  return h("li", { class: "panel row take" },
    iconButton("play", t.library.play, () => void controls.listen(take.id)),
    thumbnail(take.id),
    h("button", { type: "button", class: "plain grow name", onclick: () => void controls.open(take.id) }, h("span", { class: "cut" })),
    h("span", { class: "number soft" }, duration(take.audio.seconds)),
    iconButton("star", t.library.favorite, () => void controls.changeTake(take.id, { favorite: !store.state.takes[take.id].favorite }), { "data-role": "favorite" }),
    h("span", { class: "soft small age" }, ago(take.made)),
    iconButton("trash", t.library.remove, () => void controls.remove(take.id)));
}

/**
 * @param {HTMLElement} element
 * @param {Take} take
 */
function update(element, take) {
  const name = element.querySelector(".name span");
  if (name) name.textContent = take.title || take.prompt || take.kind;
  element.querySelector("[data-role=favorite]")?.setAttribute("aria-pressed", String(take.favorite));
}
