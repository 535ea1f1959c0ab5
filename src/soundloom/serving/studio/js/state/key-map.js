/** Which keys of one letter do what, as far as a user changed it. Pure. */

/** @typedef {Record<string, string>} KeyMap  the new keys by the ones that they replace */

/** The keys that can be changed. */
export const KEYS = ["l", "x", "s", "t", "[", "]", "e", "v", "i", "g", "+", "-", "0", "f", "r", "1", "2", "3", "4", "/", "?"];

/**
 * The key that one stands for; empty for one that does nothing any more.
 * @param {KeyMap} map
 * @param {string} key
 */
export function meant(map, key) {
  const pressed = key.length === 1 ? key.toLowerCase() : key;
  const changed = Object.keys(map).find((one) => map[one] === pressed);
  if (changed) return changed;
  const first = pressed === "=" ? "+" : pressed; // the same key without Shift
  return first in map ? "" : first;
}

/**
 * Replace a key by another one.
 * @param {KeyMap} map
 * @param {string} key
 * @param {string} chosen
 * @returns {{map: KeyMap, taken: string}} `taken` is what the chosen key does already; then the map is the same
 */
export function withKey(map, key, chosen) {
  const { [key]: _, ...others } = map;
  if (chosen === key && meant(others, key) === key) return { map: others, taken: "" };
  const does = meant(others, chosen);
  if (does !== key && KEYS.includes(does)) return { map, taken: does };
  return { map: { ...others, [key]: chosen }, taken: "" };
}
