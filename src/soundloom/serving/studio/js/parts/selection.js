/** What can be done with the takes that are chosen, at the bottom of the library. */

import { routes } from "../net/library.js";
import { size } from "../strings.js";
import { library as words } from "../strings-library.js";
import { h, icon } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../collecting.js").Collecting} Collecting */

/**
 * @param {Store} store
 * @param {Collecting} collecting
 */
export function selectionBar(store, collecting) {
  const chosen = () => [...store.state.library.chosen];
  const button = (/** @type {Parameters<typeof icon>[0]} */ shape, /** @type {string} */ text, /** @type {() => unknown} */ act, title = "") =>
    h("button", { type: "button", onclick: act, "aria-label": text, title: title || text }, icon(shape), h("span", {}, text));
  const amount = h("strong", { role: "status" });
  const all = h("button", { type: "button", class: "plain", onclick: () => void collecting.chooseAll() });
  const star = button("star", words.star, () => {
    const ids = chosen();
    const some = ids.some((id) => store.state.takes[id] && !store.state.takes[id].favorite);
    void collecting.star(ids, some || ids.every((id) => !store.state.takes[id]));
  });
  const living = [star, tagField(collecting, chosen), button("download", words.export, () => void collecting.export(chosen()), words.exportMore),
    button("trash", words.remove, () => void collecting.remove(chosen()))];
  const restore = button("back", words.restore, () => void collecting.restore(chosen()));
  const bar = h("div", { class: "selection row panel", role: "group", "aria-label": words.chosen(0) }, amount, all,
    h("button", { type: "button", class: "plain", onclick: collecting.chooseNone }, words.noneChosen), h("span", { class: "grow" }), living, restore);
  store.watch((state) => [state.library.chosen, state.library.count, state.library.deleted], (ids, count, deleted) => {
    bar.hidden = ids.size === 0;
    amount.textContent = words.chosen(ids.size);
    bar.setAttribute("aria-label", words.chosen(ids.size));
    all.hidden = count === null || ids.size >= count;
    all.textContent = words.all(count ?? 0);
    for (const one of living) one.hidden = deleted;
    restore.hidden = !deleted;
  });
  return h("div", { class: "bottom" }, trash(store, collecting), bar);
}

/**
 * @param {Collecting} collecting
 * @param {() => string[]} chosen
 */
function tagField(collecting, chosen) {
  const known = h("datalist", { id: "tags-of-library" });
  const field = h("input", {
    type: "text", "aria-label": words.addTag, placeholder: words.tagHint, maxLength: 60, autocomplete: "off", class: "tag-field",
    onfocus: async () => known.replaceChildren(...(await collecting.tags()).map(({ tag }) => h("option", { value: tag }))),
  });
  field.setAttribute("list", known.id);
  return h("form", {
    class: "row add-tag",
    onsubmit: (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      const tag = field.value.trim();
      if (!tag) return;
      void collecting.tag(chosen(), tag);
      field.value = "";
    },
  }, field, known, h("button", { "aria-label": words.tag, title: words.addTag }, icon("tag"), h("span", {}, words.tag)));
}

/**
 * Remove what was deleted for good.
 * @param {Store} store
 * @param {Collecting} collecting
 */
function trash(store, collecting) {
  const purge = h("button", { type: "button", onclick: async () => {
    if (!confirm(words.purgeSure)) return;
    const { takes, bytes } = await routes.purge();
    store.send({ type: "toast", toast: { text: words.purged(takes, size(bytes)), undo: null } });
    void collecting.refresh();
  } }, icon("trash"), words.purge);
  const box = h("div", { class: "row trash small" }, h("span", { class: "soft" }, words.deletedMore), purge);
  store.watch((state) => [state.library.deleted, state.library.count], (deleted, count) => (box.hidden = !deleted || !count));
  return box;
}
