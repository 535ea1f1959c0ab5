/** What this browser keeps: what a user prefers, and what a reload of the page must not lose. */

/**
 * @typedef {{theme: "auto" | "light" | "dark", keys: boolean, keyMap: import("./key-map.js").KeyMap, playWhenDone: boolean, historyFolded: boolean,
 *   format: "wav" | "flac" | "mp3", subtype: "stored" | "float" | "24" | "16", snap: "off" | "beat" | "bar" | "zero" | "onset"}} Settings
 */
/**
 * The words, the take in the editor, the last candidates, passes that are not finished, earlier prompts.
 * @typedef {{words?: Partial<import("../types.js").Words>, model?: string, take?: string | null, job?: string | null,
 *   before?: string | null, passes?: import("../types.js").Passes[], prompts?: string[]}} Session
 */

const SETTINGS_KEY = "soundloom";
const SESSION_KEY = "soundloom-words";
const MAX_PROMPTS = 50;

/** @type {Settings} */
const DEFAULTS = {
  theme: "auto",
  keys: true,
  keyMap: {},
  playWhenDone: false,
  historyFolded: false,
  format: "wav",
  subtype: "stored",
  snap: "beat",
};

/**
 * @param {string} key
 * @returns {Record<string, any>} empty if storage is switched off, or holds something else
 */
function read(key) {
  try {
    const found = JSON.parse(localStorage.getItem(key) ?? "{}");
    return found && typeof found === "object" ? found : {};
  } catch {
    return {};
  }
}

/**
 * @param {string} key
 * @param {object} values
 */
function keep(key, values) {
  try {
    localStorage.setItem(key, JSON.stringify(values));
  } catch {
    // they last as long as the page
  }
}

/** @returns {Settings} */
export function readSettings() {
  return { ...DEFAULTS, ...read(SETTINGS_KEY) };
}

/** @param {Settings} settings */
export function keepSettings(settings) {
  keep(SETTINGS_KEY, settings);
}

/** @returns {Session} */
export function readSession() {
  return read(SESSION_KEY);
}

/** @param {Session} session what it does not name stays */
export function keepSession(session) {
  keep(SESSION_KEY, { ...readSession(), ...session });
}

/** @param {string} prompt */
export function keepPrompt(prompt) {
  const text = prompt.trim();
  if (text) keepSession({ prompts: [text, ...earlierPrompts().filter((one) => one !== text)].slice(0, MAX_PROMPTS) });
}

/** @returns {string[]} newest first */
export function earlierPrompts() {
  const { prompts } = readSession();
  return Array.isArray(prompts) ? prompts.filter((one) => typeof one === "string") : [];
}

/**
 * Put what was kept into the first state.
 * @param {import("../types.js").State} state
 * @param {Session} session
 * @returns {import("../types.js").State}
 */
export function restored(state, session) {
  const { words, model, passes } = session;
  const known = Object.entries(words ?? {}).filter(([name, value]) => name in state.words && isAlike(value, Reflect.get(state.words, name)));
  const kept = { words: { ...state.words, ...Object.fromEntries(known) }, passes: Array.isArray(passes) ? passes : [] };
  return { ...state, ...kept, model: typeof model === "string" ? model : state.model };
}

/**
 * @param {unknown} value
 * @param {unknown} standard
 */
function isAlike(value, standard) {
  return value === null || standard === null || (typeof value === typeof standard && Array.isArray(value) === Array.isArray(standard));
}
