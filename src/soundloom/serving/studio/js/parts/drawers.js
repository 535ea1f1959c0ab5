/** What narrow pages fold away: the settings below the prompt, the history, and the menu of the header. */

import { t } from "../strings.js";
import { h, icon, iconButton } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {"words" | "history" | "menu"} Drawer */

/** Whether the page is too narrow for three columns; the same width is in css/layout.css. */
export const narrow = matchMedia("(max-width: 1023px)");

/**
 * A button that opens and closes a drawer; wide pages do not show it.
 * @param {Store} store
 * @param {Drawer} drawer
 */
export function drawerButton(store, drawer) {
  const toggle = () => store.send({ type: "drawer", value: store.state.drawer === drawer ? null : drawer });
  const name = h("span", {});
  const button = drawer === "words" ? h("button", { type: "button", onclick: toggle }, name, icon("up"))
    : iconButton(drawer === "menu" ? "menu" : "history", t.drawer[drawer], toggle);
  button.classList.add("narrow", `open-${drawer}`);
  store.watch((state) => [state.drawer === drawer], (open) => {
    button.setAttribute("aria-expanded", String(open));
    name.textContent = open ? t.drawer.less : t.drawer.words;
  });
  return button;
}

/**
 * Open an element as a drawer: it has the class "open" meanwhile. The keyboard goes into it and back again.
 * @param {Store} store
 * @param {Drawer} drawer
 * @param {HTMLElement} element
 */
export function asDrawer(store, drawer, element) {
  const close = () => store.send({ type: "drawer", value: null });
  const escape = (/** @type {KeyboardEvent} */ event) => {
    if (event.key !== "Escape" || store.state.drawer !== drawer || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    event.stopPropagation();
    close();
  };
  document.addEventListener("keydown", escape, { capture: true });
  if (drawer === "history") {
    document.addEventListener("pointerdown", (event) => {
      if (store.state.drawer === drawer && event.target instanceof Element && !element.contains(event.target) && !event.target.closest(".narrow")) close();
    });
  }
  let was = false;
  store.watch((state) => [state.drawer === drawer], (open) => {
    element.classList.toggle("open", open);
    if (open && drawer === "history") /** @type {HTMLElement | null} */ (element.querySelector("button[aria-expanded]"))?.focus();
    if (!open && was && (element.contains(document.activeElement) || document.activeElement === document.body)) {
      /** @type {HTMLElement | null} */ (document.querySelector(`.open-${drawer}`))?.focus();
    }
    was = open;
  });
  return element;
}

/**
 * On narrow pages new takes may be out of view below the sound: scroll to them when they are made.
 * @param {Store} store
 * @param {HTMLElement} element
 */
export function showNewTakes(store, element) {
  store.watch((state) => [state.candidates?.job], (job) => {
    if (job && narrow.matches) requestAnimationFrame(() => element.scrollIntoView({ block: "end" }));
  });
  return element;
}
