/** The sounds of takes, of which the last few are kept. */

import { api } from "../net/api.js";
import { readWav } from "./wav.js";

/** @typedef {import("./wav.js").Sound} Sound */

const KEPT = 3; // two that are compared, and a candidate

/** @type {Map<string, Promise<Sound>>} */
const sounds = new Map();

/**
 * @param {string} take
 * @returns {Promise<Sound>} raises ApiError, or Error for a file that cannot be played
 */
export function soundOf(take) {
  const known = sounds.get(take);
  const found = known ?? api.audio(take).then(readWav);
  sounds.delete(take);
  sounds.set(take, found);
  found.catch(() => sounds.delete(take));
  for (const old of [...sounds.keys()].slice(0, -KEPT)) sounds.delete(old);
  return found;
}
