/** What a reload of the page must not lose: the words, the take in the editor, the last candidates, earlier prompts. */

/**
 * @typedef {{words?: Partial<import("../types.js").Words>, model?: string, take?: string | null, job?: string | null,
 *   before?: string | null, prompts?: string[]}} Session
 */

const KEY = "soundloom-words";
const MAX_PROMPTS = 50;

/** @returns {Session} */
export function readSession() {
  try {
    const found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return found && typeof found === "object" ? found : {};
  } catch {
    return {}; // storage is switched off, or holds something else
  }
}

/** @param {Session} session what it does not name stays */
export function keepSession(session) {
  try {
    localStorage.setItem(KEY, JSON.stringify({ ...readSession(), ...session }));
  } catch {
    // it lasts as long as the page
  }
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
  const { words, model } = session;
  const known = Object.entries(words ?? {}).filter(([name, value]) => name in state.words && isAlike(value, Reflect.get(state.words, name)));
  return { ...state, words: { ...state.words, ...Object.fromEntries(known) }, model: typeof model === "string" ? model : state.model };
}

/**
 * @param {unknown} value
 * @param {unknown} standard
 */
function isAlike(value, standard) {
  return value === null || standard === null || (typeof value === typeof standard && Array.isArray(value) === Array.isArray(standard));
}
