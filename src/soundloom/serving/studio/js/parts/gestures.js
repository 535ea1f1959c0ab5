/** Pointers and wheel on the stage. Each gesture has a control or a key that does the same. */

import { viewOf } from "../editing.js";
import { place } from "../state/actions.js";
import { extension } from "../state/shown.js";
import { gridOf } from "../state/tempo.js";
import { toSample, toX } from "../view/grid.js";
import { indexAt, withEdge } from "../view/regions.js";
import { sliderKeys } from "./slider-keys.js";

/**
 * @typedef {import("./stage.js").Stage} Stage
 * @typedef {import("../types.js").Span} Span
 * @typedef {{move: (x: number, event: PointerEvent) => void, end?: (event: PointerEvent) => void}} Gesture
 */

const DRAG_PIXELS = 4; // below, it is a click
const LONG_PRESS_MS = 350;
const SCROLL = 0.4; // of the distance to the stage, for each frame that a drag is beside it
const END_PIXELS = 8; // from an end of the take, where a drag makes it longer

/** @param {Stage} stage */
export function gestures(stage) {
  const { element } = stage;
  /** @type {Map<number, number>} x of each pointer that is down */
  const pointers = new Map();
  /** @type {Gesture | null} */
  let current = null;
  let press = 0;
  let scrolling = false;
  /** @type {{x: number, event: PointerEvent} | null} */
  let last = null;
  const xOf = (/** @type {MouseEvent} */ event) => event.clientX - element.getBoundingClientRect().left;

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || /** @type {Element} */ (event.target).closest("button")) return;
    const x = xOf(event);
    pointers.set(event.pointerId, x);
    element.setPointerCapture(event.pointerId);
    clearTimeout(press);
    if (pointers.size === 2) current = pinch(stage, pointers);
    else if (pointers.size === 1) current = begin(stage, event, x);
    if (event.pointerType === "touch" && pointers.size === 1 && current?.move === noMove) {
      current = pan(stage, x);
      press = setTimeout(() => (current = drawing(stage, x)), LONG_PRESS_MS);
    }
  });
  element.addEventListener("pointermove", (event) => {
    const x = xOf(event);
    if (!pointers.has(event.pointerId)) {
      element.classList.toggle("at-end", event.pointerType === "mouse" && event.target === stage.marks && endAt(stage, x) !== null);
      return;
    }
    if (Math.abs(x - Number(pointers.get(event.pointerId))) > DRAG_PIXELS) clearTimeout(press);
    if (pointers.size === 2) pointers.set(event.pointerId, x);
    current?.move(x, event);
    last = { x, event };
    if (!scrolling && isBeside(stage, x)) scroll();
  });
  /** Go on while a drag is held beside the stage. */
  const scroll = () => {
    scrolling = pointers.size === 1 && current !== null && last !== null && isBeside(stage, last.x);
    if (!scrolling || !last) return;
    stage.editing.scroll(SCROLL * (last.x < 0 ? last.x : last.x - element.clientWidth));
    current?.move(last.x, last.event);
    requestAnimationFrame(scroll);
  };
  element.addEventListener("focusin", ({ target }) => {
    if (target instanceof HTMLElement && target.classList.contains("away")) stage.editing.reveal(Number(target.ariaValueNow));
  });
  for (const kind of /** @type {const} */ (["pointerup", "pointercancel"])) {
    element.addEventListener(kind, (event) => {
      if (!pointers.delete(event.pointerId)) return;
      clearTimeout(press);
      if (pointers.size === 0) {
        if (kind === "pointerup") current?.end?.(event);
        current = null;
      } else current = { move: noMove };
    });
  }
  element.addEventListener("dblclick", (event) => {
    const index = indexAt(stage.editing.regions(), toSample(viewOf(stage.store.state), xOf(event)));
    if (index >= 0) stage.editing.playAround(index);
  });
  element.addEventListener("wheel", (event) => wheel(stage, event, xOf(event)), { passive: false });
  element.addEventListener("keydown", (event) => sliderKeys(stage, event));
}

const noMove = () => {};

/** @param {Stage} stage @param {number} x */
const isBeside = (stage, x) => stage.store.state.view.zoom !== null && (x < 0 || x > stage.element.clientWidth);

/**
 * @param {Stage} stage
 * @param {WheelEvent} event
 * @param {number} x
 */
function wheel(stage, event, x) {
  const scale = event.deltaMode === 1 ? 16 : 1;
  if (event.ctrlKey || event.metaKey) {
    event.preventDefault();
    stage.editing.zoomBy(Math.exp((-event.deltaY * scale) / (Math.abs(event.deltaY) < 40 ? 100 : 300)), x);
  } else if (stage.store.state.view.zoom) {
    const along = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    event.preventDefault();
    stage.editing.scroll((along ? event.deltaX || event.deltaY : event.deltaY) * scale);
  }
}

/**
 * What a press begins.
 * @param {Stage} stage
 * @param {PointerEvent} event
 * @param {number} x
 * @returns {Gesture}
 */
function begin(stage, event, x) {
  const target = /** @type {HTMLElement} */ (event.target).closest(".edge, .playhead");
  const y = event.clientY - stage.element.getBoundingClientRect().top;
  event.preventDefault();
  /** @type {HTMLElement} */ (target ?? stage.head).focus({ preventScroll: true });
  if (target instanceof HTMLElement && target.dataset.beat !== undefined) return dragBeat(stage, x);
  if (target instanceof HTMLElement && target.classList.contains("edge")) return dragEdge(stage, target, x);
  if (target) return { move: (at) => stage.editing.scrub(stage.editing.sampleAt(at)) };
  if (y < stage.layout().lanes.y) return dragBrace(stage, x, event.altKey);
  const end = endAt(stage, x);
  if (end) return dragEnd(stage, end, x);
  if (event.shiftKey) return selecting(stage, x);
  if (event.pointerType === "touch") return { move: noMove };
  return clickOrDraw(stage, x);
}

/**
 * The end of the take under a pointer.
 * @param {Stage} stage
 * @param {number} x
 */
function endAt(stage, x) {
  const view = viewOf(stage.store.state);
  const { before, after } = extension(stage.store.state);
  const rate = stage.editing.rate();
  if (Math.abs(toX(view, stage.editing.samples() + after * rate) - x) <= END_PIXELS) return /** @type {const} */ ("after");
  return Math.abs(toX(view, -before * rate) - x) <= END_PIXELS ? /** @type {const} */ ("before") : null;
}

/**
 * @param {Stage} stage
 * @param {number} x
 * @returns {Gesture}
 */
function clickOrDraw(stage, x) {
  const view = viewOf(stage.store.state);
  const inside = indexAt(stage.editing.regions(), toSample(view, x));
  /** @type {Gesture | null} */
  let drag = null;
  return {
    move: (at, event) => {
      if (!drag && Math.abs(at - x) >= DRAG_PIXELS) drag = inside >= 0 ? moving(stage, inside, x) : drawing(stage, x);
      drag?.move(at, event);
    },
    end: (event) => {
      if (drag) drag.end?.(event);
      else click(stage, x, event);
    },
  };
}

/**
 * @param {Stage} stage
 * @param {number} x
 * @param {PointerEvent} event
 */
function click(stage, x, event) {
  const at = toSample(viewOf(stage.store.state), x);
  if (place(stage.store.state).selection) stage.editing.select(null);
  stage.editing.seek(event.detail > 1 ? at : stage.editing.snap(at, true));
}

/**
 * Draw a new region from where the press was.
 * @param {Stage} stage
 * @param {number} x
 * @returns {Gesture}
 */
function drawing(stage, x) {
  const { editing } = stage;
  const base = editing.regions();
  const from = toSample(viewOf(stage.store.state), x);
  let merge = false;
  return {
    move: (at, event) => {
      const ends = [editing.snap(from, event.altKey), editing.snap(editing.sampleAt(at), event.altKey)].sort((one, other) => one - other);
      if (!merge && ends[0] === ends[1]) return;
      editing.draw(base, { start: ends[0], end: ends[1] }, merge);
      merge = true;
    },
    end: () => merge && editing.noteMerge(base.length + 1),
  };
}

/**
 * Move all of a region.
 * @param {Stage} stage
 * @param {number} index
 * @param {number} x
 * @returns {Gesture}
 */
function moving(stage, index, x) {
  const { editing } = stage;
  const base = editing.regions();
  const span = base[index];
  const others = base.filter((_, at) => at !== index);
  const from = editing.sampleAt(x);
  let merge = false;
  return {
    move: (at, event) => {
      const start = editing.snap(span.start + editing.sampleAt(at) - from, event.altKey);
      editing.draw(others, withEdge(span, "start", start, editing.samples(), true), merge);
      merge = true;
    },
    end: () => editing.noteMerge(base.length),
  };
}

/**
 * @param {Stage} stage
 * @param {HTMLElement} handle
 * @param {number} x
 * @returns {Gesture}
 */
function dragEdge(stage, handle, x) {
  const { editing, store } = stage;
  const edge = /** @type {import("../editing.js").Edge} */ (handle.dataset.edge);
  const base = editing.regions();
  const index = Number(handle.dataset.region);
  const brace = handle.dataset.brace === undefined ? null : store.state.listening.brace;
  const span = brace ?? base[index];
  const others = base.filter((_, at) => at !== index);
  const from = editing.sampleAt(x);
  let merge = false;
  return {
    move: (at, event) => {
      if (!merge && at === x) return;
      const to = editing.snap(span[edge] + editing.sampleAt(at) - from, event.altKey);
      const next = withEdge(span, edge, to, editing.samples(), event.shiftKey);
      if (brace) store.send({ type: "listening", listening: { brace: next } });
      else editing.draw(others, next, merge);
      merge = true;
    },
    end: () => void (!brace && merge && editing.noteMerge(base.length)),
  };
}

/**
 * Move the first beat: to an onset or a zero crossing if these are snapped to, not to the beats that go along.
 * @param {Stage} stage
 * @param {number} x
 * @returns {Gesture}
 */
function dragBeat({ editing, store }, x) {
  const first = gridOf(store.state)?.first ?? 0;
  const from = editing.sampleAt(x);
  return {
    move: (at, event) => {
      const isOnBeats = ["beat", "bar"].includes(store.state.settings.snap);
      if (at !== x) editing.moveBeat(editing.snap(first + editing.sampleAt(at) - from, isOnBeats || event.altKey));
    },
  };
}

/**
 * Draw the loop on the ruler; a click there takes it away, or seeks if there is none.
 * @param {Stage} stage
 * @param {number} x
 * @param {boolean} free
 * @returns {Gesture}
 */
function dragBrace(stage, x, free) {
  const { editing, store } = stage;
  const from = editing.snap(toSample(viewOf(store.state), x), free);
  let drawn = false;
  return {
    move: (at, event) => {
      if (!drawn && Math.abs(at - x) < DRAG_PIXELS) return;
      const to = editing.snap(editing.sampleAt(at), event.altKey);
      const [start, end] = [Math.max(0, Math.min(from, to)), Math.min(editing.samples(), Math.max(from, to))];
      if (start >= end) return;
      drawn = true;
      store.send({ type: "listening", listening: { brace: { start, end }, loop: true } });
    },
    end: () => {
      if (drawn) return;
      if (store.state.listening.brace) store.send({ type: "listening", listening: { brace: null } });
      else editing.seek(toSample(viewOf(store.state), x));
    },
  };
}

/**
 * Make the take longer at one end.
 * @param {Stage} stage
 * @param {"before" | "after"} side
 * @param {number} x
 * @returns {Gesture}
 */
function dragEnd(stage, side, x) {
  const { editing, store } = stage;
  const { perPixel } = viewOf(store.state);
  const first = extension(store.state)[side] * editing.rate();
  const origin = side === "after" ? editing.samples() : 0;
  const outward = side === "after" ? 1 : -1;
  let moved = false;
  return {
    move: (at, event) => {
      if (!moved && Math.abs(at - x) < DRAG_PIXELS) return;
      moved = true;
      const end = origin + outward * first + (at - x) * perPixel;
      editing.extend(side, outward * ((event.altKey ? Math.round(end) : editing.snap(end)) - origin));
    },
    end: () => void (!moved && editing.seek(origin)),
  };
}

/**
 * Select without making a region.
 * @param {Stage} stage
 * @param {number} x
 * @returns {Gesture}
 */
function selecting(stage, x) {
  const { editing } = stage;
  const from = toSample(viewOf(stage.store.state), x);
  return {
    move: (at, event) => {
      const ends = [editing.snap(from, event.altKey), editing.snap(editing.sampleAt(at), event.altKey)].map((one) => Math.max(0, Math.min(one, editing.samples())));
      const [start, end] = ends.sort((one, other) => one - other);
      editing.select(start < end ? { start, end } : null);
    },
  };
}

/**
 * One finger scrolls; a tap seeks.
 * @param {Stage} stage
 * @param {number} x
 * @returns {Gesture}
 */
function pan(stage, x) {
  let last = x;
  let moved = false;
  return {
    move: (at) => {
      moved ||= Math.abs(at - x) >= DRAG_PIXELS;
      if (moved) stage.editing.scroll(last - at);
      last = at;
    },
    end: (event) => void (!moved && click(stage, x, event)),
  };
}

/**
 * Two fingers zoom and scroll.
 * @param {Stage} stage
 * @param {Map<number, number>} pointers
 * @returns {Gesture}
 */
function pinch(stage, pointers) {
  const measure = () => {
    const [one, other] = [...pointers.values()];
    return { middle: (one + other) / 2, spread: Math.max(20, Math.abs(one - other)) };
  };
  let last = measure();
  return {
    move: () => {
      const now = measure();
      stage.editing.zoomBy(now.spread / last.spread, last.middle);
      stage.editing.scroll(last.middle - now.middle);
      last = now;
    },
  };
}
