/** The keys of the sliders on the stage. */

import { FINE_SECONDS, viewOf } from "../editing.js";
import { gridOf } from "../state/tempo.js";
import { withEdge } from "../view/regions.js";

/** @typedef {import("./stage.js").Stage} Stage */

/**
 * The keys of sliders: playhead, edges of regions, edges of the loop.
 * @param {Stage} stage
 * @param {KeyboardEvent} event
 */
export function sliderKeys(stage, event) {
  const { editing, store } = stage;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.role !== "slider" || event.metaKey) return;
  if (target.dataset.beat !== undefined) return beatKeys(stage, event);
  const edge = /** @type {import("../editing.js").Edge | undefined} */ (target.dataset.edge);
  const brace = target.dataset.brace === undefined ? null : store.state.listening.brace;
  const index = Number(target.dataset.region);
  const from = edge ? (brace ?? editing.regions()[index])[edge] : editing.position();
  const to = next(stage, from, event);
  if (edge && !brace && (event.key === "Delete" || event.key === "Backspace")) editing.remove(index);
  else if (edge && !brace && event.key === "Enter") editing.playAround(index);
  else if (to === null) return;
  else if (!edge) editing.go(to, event.shiftKey);
  else if (brace) store.send({ type: "listening", listening: { brace: withEdge(brace, edge, to, editing.samples(), event.shiftKey) } });
  else editing.moveEdge(index, edge, to, event.shiftKey);
  if (edge && to !== null) editing.reveal(to);
  event.preventDefault();
}

/**
 * The keys of the first beat: by 10 ms or by one sample, since it does not snap to beats.
 * @param {Stage} stage
 * @param {KeyboardEvent} event
 */
function beatKeys({ editing, store }, event) {
  const from = gridOf(store.state)?.first ?? 0;
  const step = event.ctrlKey || event.altKey ? 1 : Math.round(FINE_SECONDS * editing.rate());
  const to = {
    ArrowRight: from + step, ArrowUp: from + step, ArrowLeft: from - step, ArrowDown: from - step,
    PageUp: from + 10 * step, PageDown: from - 10 * step, Home: 0, End: editing.samples(),
  }[event.key];
  if (to === undefined) return;
  editing.moveBeat(to);
  editing.reveal(to);
  event.preventDefault();
}

/**
 * @param {Stage} stage
 * @param {number} from
 * @param {KeyboardEvent} event
 */
function next({ editing, store }, from, event) {
  const fine = event.ctrlKey || event.altKey;
  const page = Math.round((viewOf(store.state).width * viewOf(store.state).perPixel) / 4);
  switch (event.key) {
    case "ArrowRight": case "ArrowUp": return editing.next(from, 1, fine);
    case "ArrowLeft": case "ArrowDown": return editing.next(from, -1, fine);
    case "PageUp": return editing.snap(from + page);
    case "PageDown": return editing.snap(from - page);
    case "Home": return 0;
    case "End": return editing.samples();
    default: return null;
  }
}
