/** What is known about the text of a prompt. Pure. */

/** @typedef {import("../types.js").Reading} Reading */
/** @typedef {{kind: "unknown" | "no-sound" | "unread" | "problem" | "english" | "understood" | "untrained", text: string, bad: boolean}} Note */

const PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/** @param {string} word */
function bare(word) {
  let start = 0;
  let end = word.length;
  while (start < end && PUNCTUATION.includes(word[start])) start++;
  while (end > start && PUNCTUATION.includes(word[end - 1])) end--;
  return { start, end };
}

/**
 * Split a text where words begin and end that the model does not know.
 * @param {string} text
 * @param {string[]} unknown
 * @returns {{text: string, unknown: boolean}[]}
 */
export function markedPieces(text, unknown) {
  const names = new Set(unknown);
  const pieces = [];
  let from = 0;
  for (const found of names.size > 0 ? text.matchAll(/\S+/g) : []) {
    const { start, end } = bare(found[0]);
    if (!names.has(found[0].slice(start, end))) continue;
    pieces.push({ text: text.slice(from, found.index + start), unknown: false });
    pieces.push({ text: found[0].slice(start, end), unknown: true });
    from = found.index + end;
  }
  pieces.push({ text: text.slice(from), unknown: false });
  return pieces.filter((piece) => piece.text);
}

/**
 * What is worth saying about a prompt.
 * @param {Reading} reading
 * @param {string} text
 * @param {import("../types.js").Model | null} model
 * @param {string} mode
 * @returns {Note[]}
 */
export function promptNotes(reading, text, model, mode) {
  /** @type {Note[]} */
  const found = [];
  const add = (/** @type {Note["kind"]} */ kind, /** @type {string} */ about = "", bad = true) => found.push({ kind, text: about, bad });
  if (reading.problem) add("problem", reading.problem);
  if (reading.unknown.length > 0) add("unknown", reading.unknown.join(", "));
  if (!reading.names_sound) add("no-sound", (model?.sounds ?? []).slice(0, 10).join(", "));
  if (reading.unread) add("unread", reading.unread);
  if (model && model.sounds.length === 0 && /\p{L}/u.test(text) && /[^\p{Script=Latin}\P{L}]/u.test(text)) add("english", "", false);
  if (mode === "edit" && reading.understood && model?.modes.includes("edit")) {
    add(reading.trained ? "understood" : "untrained", reading.understood, !reading.trained);
  }
  return found;
}

/**
 * Begin a prompt with the tags of a type of track, in place of those of another; those that are there already go.
 * @param {string} prompt
 * @param {string[]} starts
 * @param {string} start
 */
export function withStart(prompt, starts, start) {
  const known = [...starts].sort((a, b) => b.length - a.length).find((one) => prompt === one || prompt.startsWith(`${one},`));
  const rest = known === undefined ? prompt.trim() : prompt.slice(known.length).replace(/^,\s*/, "");
  return known === start ? rest : [start, rest].filter(Boolean).join(", ");
}
