/** The keys of the sliders on the stage. */

import { viewOf } from "../editing.js";
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
