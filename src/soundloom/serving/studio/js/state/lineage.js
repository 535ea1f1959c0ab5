/** The family of a take as a tree: what was made from what, newest on top. Pure. */

/** @typedef {import("../types.js").Take} Take */
/** @typedef {{take: Take, depth: number, root: boolean}} Row  `depth` counts branches, `root`: nothing is below it */

/**
 * The rows of a family: takes stand above what they were made from. Only branches are indented.
 * @param {Take[]} family
 * @returns {Row[]} newest first
 */
export function rowsOf(family) {
  const known = new Set(family.map((take) => take.id));
  /** @type {Map<string, Take[]>} */
  const children = new Map();
  for (const take of family) {
    const parent = take.parent && known.has(take.parent) ? take.parent : "";
    children.set(parent, [...(children.get(parent) ?? []), take]);
  }
  /** @type {Row[]} */
  const rows = [];
  const seen = new Set();
  const add = (/** @type {Take} */ take, /** @type {number} */ depth, /** @type {boolean} */ root) => {
    if (seen.has(take.id)) return;
    seen.add(take.id);
    rows.push({ take, depth, root });
    const below = [...(children.get(take.id) ?? [])].sort((one, other) => one.made - other.made);
    for (const child of below) add(child, below.length > 1 ? depth + 1 : depth, false);
  };
  for (const take of children.get("") ?? []) add(take, 0, true);
  return rows.reverse();
}

/**
 * Takes, and all that was made from them.
 * @param {string[]} ids
 * @param {Take[]} takes
 * @returns {string[]} ids
 */
export function branchOf(ids, takes) {
  const found = new Set(ids);
  for (let size = 0; size < found.size; ) {
    size = found.size;
    for (const take of takes) if (take.parent && found.has(take.parent)) found.add(take.id);
  }
  return [...found];
}

/**
 * A family as it is now: what changed since it was asked for, and what was made since.
 * @param {Take[]} family
 * @param {Record<string, Take>} takes
 * @returns {Take[]}
 */
export function grown(family, takes) {
  const known = new Map([...family.map((take) => /** @type {[string, Take]} */ ([take.id, take])), ...Object.entries(takes)]);
  return branchOf(family.map((take) => take.id), [...known.values()]).map((id) => /** @type {Take} */ (known.get(id)));
}

/**
 * What was done to make a take: its kind, and the amount of it.
 * @param {Take} take
 * @param {Take | undefined} parent
 * @returns {{kind: string, amount: number | null}}
 */
export function changeOf(take, parent) {
  const request = take.record.request ?? {};
  if (take.kind === "vary") return { kind: "vary", amount: request.noise ?? null };
  if (take.kind === "inpaint" || take.kind === "mix") return { kind: take.kind, amount: request.regions?.length ?? null };
  if (take.kind === "extend" && parent) return { kind: "extend", amount: Math.round((take.audio.seconds - parent.audio.seconds) * 100) / 100 };
  return { kind: take.kind, amount: null };
}
