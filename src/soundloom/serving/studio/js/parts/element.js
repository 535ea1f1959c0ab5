/** Make elements from nodes and text. No HTML is ever made from strings. */

import { paths } from "./icons.js";

/** @typedef {Node | string | number | false | null | undefined} Child */

/**
 * Make an element. Properties that begin with "on" are listeners, `class`, `aria-…`, `data-…`, `role` and `for` are
 * attributes, others are set as they are.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [properties]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) set(element, name, value);
  element.append(...nodes(children));
  return element;
}

/**
 * @param {HTMLElement} element
 * @param {string} name
 * @param {any} value
 */
export function set(element, name, value) {
  if (name.startsWith("on")) {
    element.addEventListener(name.slice(2), value);
  } else if (name in element && !name.includes("-") && name !== "class") {
    Reflect.set(element, name, value);
  } else if (value === null || value === undefined || value === false) {
    element.removeAttribute(name);
  } else {
    element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
}

/**
 * @param {(Child | Child[])[]} children
 * @returns {(Node | string)[]}
 */
function nodes(children) {
  const found = [];
  for (const child of children.flat()) {
    if (child !== false && child !== null && child !== undefined) {
      found.push(child instanceof Node ? child : String(child));
    }
  }
  return found;
}

/**
 * Replace what is inside an element.
 * @param {Element} parent
 * @param {...(Child | Child[])} children
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...nodes(children));
}

/**
 * Show a list with one element for each item: elements of items that stay are kept, with their focus.
 * @template T
 * @param {Element} parent
 * @param {T[]} items
 * @param {(item: T) => string} key
 * @param {(item: T) => HTMLElement} make
 * @param {(element: HTMLElement, item: T) => void} [update]
 */
export function keyed(parent, items, key, make, update) {
  const known = new Map();
  for (const child of parent.children) {
    known.set(/** @type {HTMLElement} */ (child).dataset.key, child);
  }
  /** @type {Element | null} */
  let next = parent.firstElementChild;
  for (const item of items) {
    const name = key(item);
    let element = known.get(name);
    if (element) {
      known.delete(name);
    } else {
      element = make(item);
      element.dataset.key = name;
    }
    update?.(element, item);
    if (element === next) {
      next = element.nextElementSibling;
    } else {
      parent.insertBefore(element, next);
    }
  }
  for (const gone of known.values()) gone.remove();
}

/**
 * @param {keyof typeof paths} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", paths[name]);
  svg.append(path);
  return svg;
}

/**
 * A button with an icon; `label` is its name for screen readers and its tooltip.
 * @param {keyof typeof paths} name
 * @param {string} label
 * @param {(event: MouseEvent) => void} onclick
 * @param {Record<string, any>} [properties]
 */
export function iconButton(name, label, onclick, properties = {}) {
  return h("button", { type: "button", class: "square plain", "aria-label": label, title: label, onclick, ...properties }, icon(name));
}

/**
 * A button, and a panel that it opens above or below itself; what is in it is made when it is opened first. Esc or a click
 * elsewhere closes it.
 * @param {string} label
 * @param {Child} face what the button shows
 * @param {() => Promise<Child[]>} content
 */
export function popover(label, face, content) {
  const panel = h("div", { class: "popover column", popover: "auto", role: "group", "aria-label": label });
  const button = h("button", { type: "button", class: "square plain", "aria-label": label, title: label }, face);
  button.popoverTargetElement = panel;
  /** @type {Promise<void> | null} */
  let filled = null;
  panel.addEventListener("toggle", async (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== "open") return;
    filled ??= content().then((children) => fill(panel, h("h2", {}, label), children));
    await filled;
    const at = button.getBoundingClientRect();
    const above = at.top > innerHeight / 2;
    panel.style.top = above ? "" : `${at.bottom + 6}px`;
    panel.style.bottom = above ? `${innerHeight - at.top + 6}px` : "";
    panel.style.left = `${Math.max(8, Math.min(at.left, innerWidth - panel.offsetWidth - 8))}px`;
  });
  return { button, panel };
}

/**
 * Show a dialog that is made when it is asked for first.
 * @param {() => Promise<HTMLDialogElement>} make
 * @returns {() => Promise<void>}
 */
export function later(make) {
  /** @type {Promise<HTMLDialogElement> | null} */
  let made = null;
  return async () => {
    made ??= make().then((dialog) => (document.body.append(dialog), dialog));
    const dialog = await made;
    if (!dialog.open) dialog.showModal();
  };
}
