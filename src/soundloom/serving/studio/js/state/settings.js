/** What a user prefers, kept in this browser. */

/**
 * @typedef {{theme: "auto" | "light" | "dark", keys: boolean, playWhenDone: boolean, historyFolded: boolean,
 *   format: "wav" | "flac" | "mp3", subtype: "stored" | "float" | "24" | "16", snap: "off" | "beat" | "bar" | "zero" | "onset"}} Settings
 */

const KEY = "soundloom";

/** @type {Settings} */
const DEFAULTS = {
  theme: "auto",
  keys: true,
  playWhenDone: false,
  historyFolded: false,
  format: "wav",
  subtype: "stored",
  snap: "beat",
};

/** @returns {Settings} */
export function readSettings() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
  } catch {
    return DEFAULTS; // storage is switched off, or holds something else
  }
}

/** @param {Settings} settings */
export function keepSettings(settings) {
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // they last as long as the page
  }
}
