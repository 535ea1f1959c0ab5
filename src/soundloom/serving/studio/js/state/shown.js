/** What the editor shows: the take in it, or another one that is heard in its place. Pure. */

import { openTake, place } from "./actions.js";

/** @typedef {import("../types.js").State} State */

/** The take that is heard in place of this one: the editor shows it as soon as it is known where this one lies in it. @param {State} state */
export function heardEdit(state) {
  const heard = state.takes[state.listening.heard ?? ""];
  const { take } = place(state);
  return heard && heard.id !== take && (heard.parent !== take || heard.id in state.comparisons) ? heard : null;
}

/** Where the take in the editor begins within what is heard. @param {State} state */
export function heardOffset(state) {
  const heard = heardEdit(state);
  return heard && heard.parent === place(state).take ? state.comparisons[heard.id].offset : 0;
}

/** The seconds before and after the take that an extension adds, or has added. @param {State} state */
export function extension(state) {
  const { words } = state;
  const heard = heardEdit(state);
  if (heard) {
    const before = heardOffset(state) / heard.audio.rate;
    return { before, after: Math.max(0, heard.audio.seconds - before - (openTake(state)?.audio.seconds ?? 0)) };
  }
  return words.mode === "extend" ? { before: words.before, after: words.after } : { before: 0, after: 0 };
}
