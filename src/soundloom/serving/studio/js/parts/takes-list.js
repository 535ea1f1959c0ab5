/** The list of takes: only the rows near the view are there, however many takes there are. */

import { routes } from "../net/library.js";
import { rowAt, rowsInView } from "../state/rows.js";
import { ago, duration, t } from "../strings.js";
import { details, library as words } from "../strings-library.js";
import { thumbnail } from "../view/thumbnail.js";
import { handle } from "./drag-out.js";
import { fill, h, icon, iconButton, keyed } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../collecting.js").Collecting} Collecting */
/** @typedef {import("../types.js").Take} Take */
/** @typedef {{index: number, id: string | undefined}} Row */

const REST_MS = 120; // rows that only pass by get no picture
const KEYS = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity });

/** What a take is called. @param {Take} take */
export function nameOf(take) {
  return take.title || take.prompt || take.audio.name || t.kind[/** @type {keyof typeof t.kind} */ (take.kind)] || take.kind;
}

/**
 * Let the user choose the missing file of a take; the server accepts no other.
 * @param {Store} store
 * @param {Controls} controls
 * @param {string} id
 */
export function findFile(store, controls, id) {
  const input = h("input", { type: "file", accept: "audio/*,.wav", onchange: () => void controls.attempt(async () => {
    const [file] = input.files ?? [];
    if (file) store.send({ type: "takes", takes: [await routes.find(id, file)] });
  }) });
  input.click();
}

/**
 * @param {Store} store
 * @param {Controls} controls
 * @param {Collecting} collecting
 * @param {(id: string) => void} about
 */
export function takesList(store, controls, collecting, about) {
  const list = new TakesList(store, controls, collecting, about);
  return list.element;
}

class TakesList {
  /**
   * @param {Store} store
   * @param {Controls} controls
   * @param {Collecting} collecting
   * @param {(id: string) => void} about
   */
  constructor(store, controls, collecting, about) {
    this.store = store;
    this.controls = controls;
    this.collecting = collecting;
    this.about = about;
    this.active = 0; // the row whose buttons the Tab key reaches
    this.resting = 0;
    this.element = h("ul", { class: "takes", onkeydown: (/** @type {KeyboardEvent} */ event) => this._onKey(event) });
    const show = () => this.show();
    document.addEventListener("scroll", show, { capture: true, passive: true });
    new ResizeObserver(show).observe(this.element);
    addEventListener("resize", show);
    store.watch((state) => [state.library, state.takes, state.listening.playing, state.listening.preview, state.screen], show);
  }

  get rowHeight() {
    return Number.parseFloat(getComputedStyle(this.element).scrollPaddingTop) || 48; // css/library.css puts it there in pixels
  }

  /** Show the rows that are in view now. */
  show() {
    const { library, screen } = this.store.state;
    if (screen !== "library" || !this.element.isConnected || !this.element.checkVisibility()) return;
    const count = library.count ?? 0;
    const row = this.rowHeight;
    this.element.style.height = `${count * row}px`;
    const { first, last } = rowsInView(-this.element.getBoundingClientRect().top, innerHeight, row, count);
    this.active = Math.max(0, Math.min(count - 1, this.active));
    const focused = this.element.contains(document.activeElement) && (this.active < first || this.active >= last);
    const indexes = Array.from({ length: last - first }, (_, index) => first + index);
    if (focused) indexes.push(this.active); // a row with the focus stays
    const rows = indexes.map((index) => ({ index, id: rowAt(library.pages, index) }));
    keyed(this.element, rows, ({ index, id }) => id ?? `row ${index}`, (one) => this._make(one),
      (element, one) => this._update(element, one, row, count));
    this.collecting.need(first, last);
    clearTimeout(this.resting);
    this.resting = setTimeout(() => this._draw(), REST_MS);
  }

  /** Draw the pictures of the rows that stay. */
  _draw() {
    for (const box of this.element.querySelectorAll(".picture:empty")) {
      const id = /** @type {HTMLElement} */ (box).dataset.take;
      if (id) fill(box, thumbnail(id));
    }
  }

  /** @param {Row} row */
  _make({ id, index }) {
    if (!id || !this.store.state.takes[id]) return h("li", { class: "take waiting", "aria-busy": "true" }, words.loading);
    const take = () => this.store.state.takes[id];
    const pick = (/** @type {MouseEvent} */ event) => void this.collecting.choose(id, box.checked, event.shiftKey);
    const box = h("input", { type: "checkbox", onclick: pick });
    const star = () => void this.controls.changeTake(id, { favorite: !take().favorite });
    const remove = () => void (take().deleted ? this.collecting.restore([id]) : this.collecting.remove([id]));
    const element = h("li", { class: "take" },
      h("label", { class: "pick" }, box),
      iconButton("play", t.library.play, () => this._listen(id), { "data-role": "play" }),
      h("span", { class: "picture", "data-take": id, "aria-hidden": "true" }),
      h("div", { class: "what" },
        h("button", { type: "button", class: "plain name", onclick: () => void this.controls.open(id) }, h("span", { class: "cut" })),
        h("span", { class: "tags" })),
      h("span", { class: "about soft small number" }),
      iconButton("star", t.library.favorite, star, { "data-role": "favorite" }),
      handle(this.store, id),
      iconButton("more", details.title, () => this.about(id), { "data-role": "about" }),
      iconButton("trash", t.library.remove, remove, { "data-role": "remove" }));
    element.addEventListener("focusin", () => this._activate(Number(element.dataset.index)));
    element.dataset.index = String(index);
    return element;
  }

  /**
   * @param {HTMLElement} element
   * @param {Row} row
   * @param {number} height
   * @param {number} count
   */
  _update(element, { index, id }, height, count) {
    element.style.transform = `translateY(${index * height}px)`;
    element.dataset.index = String(index);
    element.setAttribute("aria-setsize", String(count));
    element.setAttribute("aria-posinset", String(index + 1));
    const take = id ? this.store.state.takes[id] : undefined;
    if (!take || element.classList.contains("waiting")) return;
    const { library, listening } = this.store.state;
    const on = library.chosen.has(take.id);
    const plays = listening.playing && listening.preview === take.id;
    const { favorite, tags, deleted, audio, made } = take;
    const key = [index === this.active, on, plays, favorite, nameOf(take), tags, deleted, audio.missing, ago(made)].join("\n");
    if (element.dataset.shown === key) return;
    element.dataset.shown = key;
    this._fill(element, take, on, plays);
    for (const one of element.querySelectorAll("button, input, a")) /** @type {HTMLElement} */ (one).tabIndex = index === this.active ? 0 : -1;
  }

  /**
   * @param {HTMLElement} element
   * @param {Take} take
   * @param {boolean} on
   * @param {boolean} plays
   */
  _fill(element, take, on, plays) {
    const name = nameOf(take);
    const role = (/** @type {string} */ one) => /** @type {HTMLElement} */ (element.querySelector(`[data-role=${one}]`));
    const box = /** @type {HTMLInputElement} */ (element.querySelector("input"));
    box.checked = on;
    box.setAttribute("aria-label", words.choose(name));
    element.classList.toggle("chosen", on);
    element.classList.toggle("gone", take.audio.missing);
    fill(/** @type {Element} */ (element.querySelector(".name span")), name);
    /** @type {HTMLElement} */ (element.querySelector(".name")).title = name;
    fill(/** @type {Element} */ (element.querySelector(".tags")),
      take.audio.missing && h("span", { class: "warn small row" }, icon("warning"), words.missing),
      take.tags.map((tag) => h("span", { class: "tag small cut" }, tag)));
    const kind = t.kind[/** @type {keyof typeof t.kind} */ (take.kind)] ?? take.kind;
    fill(/** @type {Element} */ (element.querySelector(".about")), h("span", { class: "kind" }, kind),
      h("span", { class: "length" }, duration(take.audio.seconds)), h("span", { class: "age" }, ago(take.made)));
    const play = role("play");
    const { missing } = take.audio;
    fill(play, icon(missing ? "search" : plays ? "pause" : "play"));
    label(play, missing ? words.find(name) : plays ? t.transport.pause : t.library.play);
    role("favorite").setAttribute("aria-pressed", String(take.favorite));
    fill(role("remove"), icon(take.deleted ? "back" : "trash"));
    label(role("remove"), take.deleted ? words.restore : t.library.remove);
  }

  /** @param {string} id */
  _listen(id) {
    const { preview, playing } = this.store.state.listening;
    if (this.store.state.takes[id].audio.missing) findFile(this.store, this.controls, id);
    else if (preview === id && playing) this.controls.togglePlay();
    else void this.controls.listen(id);
  }

  /** @param {number} index */
  _activate(index) {
    if (index === this.active) return;
    this.active = index;
    this.show();
  }

  /** The arrows go to the same button of another row. @param {KeyboardEvent} event */
  _onKey(event) {
    const step = KEYS[event.key];
    const from = document.activeElement;
    if (step === undefined || !from || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const count = this.store.state.library.count ?? 0;
    const next = Math.max(0, Math.min(count - 1, this.active + step));
    const within = Math.max(0, [...(from.closest("li")?.querySelectorAll("button, input, a") ?? [])].indexOf(from));
    this._go(next, within);
  }

  /**
   * @param {number} index
   * @param {number} within which of its buttons
   * @param {number} [tries] frames to wait for the row
   */
  _go(index, within, tries = 120) {
    this.active = index;
    const at = this.element.getBoundingClientRect().top + index * this.rowHeight;
    const bars = 130; // what sticks to the top and the bottom
    if (at < bars || at + this.rowHeight > innerHeight - bars) {
      const scroller = scrollerOf(this.element);
      scroller.scrollTop += at < bars ? at - bars : at + this.rowHeight - innerHeight + bars;
    }
    this.show();
    const row = this.element.querySelector(`li[data-index="${index}"]`);
    const target = row?.querySelectorAll("button, input, a")[within];
    if (target) /** @type {HTMLElement} */ (target).focus({ preventScroll: true });
    else if (tries > 0) requestAnimationFrame(() => this.active === index && this._go(index, within, tries - 1));
  }
}

/** @param {HTMLElement} element @param {string} text */
function label(element, text) {
  element.setAttribute("aria-label", text);
  element.title = text;
}

/** The element that scrolls what is in it. @param {Element} element @returns {Element} */
function scrollerOf(element) {
  for (let one = element.parentElement; one; one = one.parentElement) {
    if (/auto|scroll/.test(getComputedStyle(one).overflowY)) return one;
  }
  return document.scrollingElement ?? document.documentElement;
}

