/** What is typed into the search of the library: plain words, and words such as `tag:drums`, `len>2` or `★`. Pure. */

/**
 * @typedef {{text: string, tag: string[], kind: string[], model: string | null, seed: number | null, bpm: number | null,
 *   min_seconds: number | null, max_seconds: number | null, favorite: boolean | null}} Search
 */

/** Words for kinds of takes, as the page shows them. @type {Record<string, string>} */
const KINDS = { made: "generate", varied: "vary", remade: "inpaint", extended: "extend", edited: "edit", imported: "upload" };
const STARS = ["★", "⭐", "*", "is:favorite", "favorite:yes"];
const WORD = /(?:(\w+)(:|>=?|<=?|=))?(?:"([^"]*)"?|(\S+))/g;
const NEAR = 0.05; // seconds: `len:4` finds 3.98 s

/**
 * @param {string} query
 * @returns {Search}
 */
export function readSearch(query) {
  /** @type {Search} */
  const found = { text: "", tag: [], kind: [], model: null, seed: null, bpm: null, min_seconds: null, max_seconds: null, favorite: null };
  /** @type {string[]} */
  const words = [];
  for (const [whole, name, sign, quoted, plain] of query.matchAll(WORD)) {
    if (STARS.includes(whole)) found.favorite = true;
    else if (!name || !add(found, name.toLowerCase(), sign, quoted ?? plain)) words.push(name ? whole : (quoted ?? plain));
  }
  return { ...found, text: words.join(" ") };
}

/**
 * @param {Search} found
 * @param {string} name
 * @param {string} sign
 * @param {string} value
 * @returns {boolean} whether this is a word with a meaning
 */
function add(found, name, sign, value) {
  const number = Number(value.replace(/s$/, "").replace(",", "."));
  const isNumber = value !== "" && Number.isFinite(number) && number >= 0;
  if (name === "tag" && value) found.tag.push(value);
  else if (name === "kind" && value) found.kind.push(KINDS[value.toLowerCase()] ?? value.toLowerCase());
  else if (name === "model" && value) found.model = value;
  else if (name === "seed" && isNumber) found.seed = Math.round(number);
  else if (name === "bpm" && isNumber) found.bpm = number;
  else if (name === "len" && isNumber) {
    if (sign.startsWith(">")) found.min_seconds = number;
    else if (sign.startsWith("<")) found.max_seconds = number;
    else Object.assign(found, { min_seconds: Math.max(0, number - NEAR), max_seconds: number + NEAR });
  } else return false;
  return true;
}

/**
 * The parameters of GET /v1/takes for a search.
 * @param {import("../types.js").Library} library
 */
export function searchQuery({ query, order, deleted }) {
  const found = new URLSearchParams({ order });
  for (const [name, value] of Object.entries(readSearch(query))) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== "") found.append(name, String(one).slice(0, 200));
    }
  }
  if (deleted) found.set("deleted", "true");
  return found;
}

/**
 * Add a word to a search, or take it away if it is there.
 * @param {string} query
 * @param {string} word
 */
export function toggleWord(query, word) {
  /** @type {string[]} */
  const words = query.match(/\S*"[^"]*"?|\S+/g) ?? [];
  return (words.includes(word) ? words.filter((one) => one !== word) : [...words, word]).join(" ");
}

/** The word that finds a tag. @param {string} tag */
export function tagWord(tag) {
  return /[\s"]/.test(tag) ? `tag:"${tag.replaceAll('"', "")}"` : `tag:${tag}`;
}
