/** What the editor shows: the take in it, or another one that plays in its place. Pure. */

import { openTake, place } from "./actions.js";

/** @typedef {import("../types.js").State} State */

/** The take that plays in place of this one: the editor shows it as soon as it is known where this one lies in it. @param {State} state */
export function previewedEdit(state) {
  const preview = state.takes[state.listening.preview ?? ""];
  const { take } = place(state);
  return preview && preview.id !== take && (preview.parent !== take || preview.id in state.comparisons) ? preview : null;
}

/** Where the take in the editor begins within what plays. @param {State} state */
export function previewOffset(state) {
  const preview = previewedEdit(state);
  return preview && preview.parent === place(state).take ? state.comparisons[preview.id].offset : 0;
}

/** The seconds before and after the take that an extension adds, or has added. @param {State} state */
export function extension(state) {
  const { words } = state;
  const preview = previewedEdit(state);
  if (preview) {
    const before = previewOffset(state) / preview.audio.rate;
    return { before, after: Math.max(0, preview.audio.seconds - before - (openTake(state)?.audio.seconds ?? 0)) };
  }
  return words.mode === "extend" ? { before: words.before, after: words.after } : { before: 0, after: 0 };
}
