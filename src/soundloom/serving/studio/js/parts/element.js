/** Make elements from nodes and text. No HTML is ever made from strings. */

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

/**
 * Load a style sheet that the first screen does without; layout.css keeps the last word.
 * @param {string} name
 * @returns {Promise<void>}
 */
export const styles = (name) => new Promise((done) => {
  document.head.querySelector("[href$='layout.css']")?.before(
    h("link", { rel: "stylesheet", href: `/studio/css/${name}.css`, onload: () => done(), onerror: () => done() }));
});

/** The icons, drawn on 24 × 24 as one path each, with strokes. */
const paths = {
  add: "M12 5v14M5 12h14",
  both: "M3 7h2l2-4 3 8 3-8 3 7 2-3h3M3 21h18M3 18h9M3 15h4",
  again: "M4 12a8 8 0 0 1 13.7-5.6L20 8.5M20 4v4.5h-4.5M20 12a8 8 0 0 1-13.7 5.6L4 15.5M4 20v-4.5h4.5",
  back: "M9 14 4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3",
  check: "m5 12.5 4.5 4.5L19 7.5",
  close: "M6 6l12 12M18 6 6 18",
  compare: "M5 5h5v14H5zM14 5h5v14h-5z",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  dice: "M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01M12 12h.01",
  previous: "m15 6-6 6 6 6",
  next: "m9 6 6 6-6 6",
  down: "m6 9 6 6 6-6",
  download: "M12 4v11m-4.5-4.5L12 15l4.5-4.5M5 20h14",
  drag: "M9 6h.01M15 6h.01M9 12h.01M15 12h.01M9 18h.01M15 18h.01",
  ear: "M4 15v-3a8 8 0 0 1 16 0v3M4 14h3.5v6H5.5A1.5 1.5 0 0 1 4 18.5zM20 14h-3.5v6h2a1.5 1.5 0 0 0 1.5-1.5z",
  fit: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  folder: "M3 6h6l2 2h10v11H3z",
  forward: "m15 14 5-5-5-5M20 9H10a6 6 0 0 0 0 12h3",
  help: "M9 9a3 3 0 1 1 4.2 2.75c-.8.4-1.2 1-1.2 2.25M12 17.5h.01M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18z",
  history: "M4 6v4h4M4.6 10a8 8 0 1 1-.4 4M12 8v4.5l3 2",
  list: "M9 6h11M9 12h11M9 18h11M4.5 6h.01M4.5 12h.01M4.5 18h.01",
  loop: "M17 3l3 3-3 3M20 6H8a4 4 0 0 0-4 4v1M7 21l-3-3 3-3M4 18h12a4 4 0 0 0 4-4v-1",
  menu: "M4 7h16M4 12h16M4 17h16",
  minus: "M5 12h14",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  moon: "M20 14.5A8 8 0 1 1 9.5 4a6.5 6.5 0 0 0 10.5 10.5z",
  pause: "M8 5v14M16 5v14",
  play: "M7 4.5v15l12-7.5z",
  queue: "M4 6h16M4 12h16M4 18h10",
  search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l4.5 4.5",
  settings: "M4 7h9m4 0h3M4 17h3m4 0h9M15 7m-2 0a2 2 0 1 0 4 0 2 2 0 1 0-4 0M9 17m-2 0a2 2 0 1 0 4 0 2 2 0 1 0-4 0",
  star: "m12 4 2.5 5.2 5.7.8-4.1 4 1 5.7-5.1-2.7-5.1 2.7 1-5.7-4.1-4 5.7-.8z",
  spectrogram: "M3 20h18M3 16h12m3 0h3M3 12h6m5 0h4M3 8h3m4 0h2M3 4h1",
  start: "M6 5v14M18 5l-9 7 9 7z",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2v2m0 16v2M4.9 4.9l1.4 1.4m11.4 11.4 1.4 1.4M2 12h2m16 0h2M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  tag: "M4 4h8l8 8-8 8-8-8zM8.5 8.5h.01",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  up: "m6 15 6-6 6 6",
  upload: "M12 20V9m-4.5 4.5L12 9l4.5 4.5M5 4h14",
  volume: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5zM15.5 9a4 4 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11",
  wave: "M2 12h2l2-5 3 11 3-15 3 13 2-5 2 1h3",
  warning: "M12 4 2.5 20h19zM12 10v4.5M12 17.5h.01",
  region: "M4 5v14M20 5v14M8 9l4-4M8 15l8-8M12 17l4-4",
  extend: "M4 5v14M8 12h11m-4-4 4 4-4 4",
  edit: "M4 20l1-4L16 5l3 3L8 19zM14 7l3 3",
};
