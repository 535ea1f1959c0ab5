/**
 * Regions: spans of samples that are made again, in order, which never overlap or touch. Pure.
 *
 * @typedef {import("../types.js").Span} Span
 */

/**
 * Put regions in order within a take, and merge those that overlap or touch; the first words of their own stay.
 * @param {Span[]} spans
 * @param {number} samples
 * @returns {Span[]}
 */
export function tidy(spans, samples) {
  /** @type {Span[]} */
  const found = [];
  const inside = spans.map((one) => ({ ...one, start: Math.max(0, one.start), end: Math.min(samples, one.end) }));
  for (const span of inside.filter((one) => one.start < one.end).sort((one, other) => one.start - other.start)) {
    const last = found[found.length - 1];
    if (!last || span.start > last.end) found.push(span);
    else {
      last.end = Math.max(last.end, span.end);
      if (!last.words && span.words) last.words = span.words;
    }
  }
  return found;
}

/**
 * Everything that lies between regions.
 * @param {Span[]} regions
 * @param {number} samples
 * @returns {Span[]}
 */
export function inverted(regions, samples) {
  const edges = [0, ...regions.flatMap(({ start, end }) => [start, end]), samples];
  const found = [];
  for (let at = 0; at < edges.length; at += 2) if (edges[at] < edges[at + 1]) found.push({ start: edges[at], end: edges[at + 1] });
  return found;
}

/**
 * Replace a region; null removes it.
 * @param {Span[]} regions
 * @param {number} index
 * @param {Span | null} span
 * @param {number} samples
 */
export function changed(regions, index, span, samples) {
  const others = regions.filter((_, at) => at !== index);
  return tidy(span ? [...others, span] : others, samples);
}

/**
 * Move an edge of a span, or with `both` all of it, within the take. An edge cannot pass the other one.
 * @param {Span} span
 * @param {"start" | "end"} edge
 * @param {number} to
 * @param {number} samples
 * @param {boolean} [both]
 * @returns {Span}
 */
export function withEdge(span, edge, to, samples, both = false) {
  if (both) {
    const length = span.end - span.start;
    const start = Math.max(0, Math.min(edge === "start" ? to : to - length, samples - length));
    return { ...span, start, end: start + length };
  }
  if (edge === "start") return { ...span, start: Math.max(0, Math.min(to, span.end - 1)) };
  return { ...span, end: Math.min(samples, Math.max(to, span.start + 1)) };
}

/** @param {number} index 0 is A, 26 is AA */
export function letter(index) {
  const last = String.fromCharCode(65 + (index % 26));
  return index < 26 ? last : String.fromCharCode(64 + Math.floor(index / 26)) + last;
}

/**
 * @param {Span[]} regions
 * @param {number} sample
 */
export function indexAt(regions, sample) {
  return regions.findIndex(({ start, end }) => sample >= start && sample < end);
}

/**
 * How long the crossfade at each edge is: it lies inside the region, and takes a quarter of it at most.
 * @param {Span} span
 * @param {number} crossfade samples
 */
export function fadeOf({ start, end }, crossfade) {
  return Math.min(crossfade, Math.floor((end - start) / 4));
}

/**
 * Set the start or the end of a region where the playhead is. Returns the regions, and the start that waits for an end.
 * @param {Span[]} regions
 * @param {number | null} waiting
 * @param {"start" | "end"} edge
 * @param {number} at
 * @param {number} samples
 * @returns {{regions: Span[], waiting: number | null}}
 */
export function marked(regions, waiting, edge, at, samples) {
  const inside = indexAt(regions, at);
  if (inside >= 0) return { regions: changed(regions, inside, withEdge(regions[inside], edge, at, samples), samples), waiting: null };
  if (edge === "start") return { regions, waiting: at };
  if (waiting !== null && waiting < at) return { regions: tidy([...regions, { start: waiting, end: at }], samples), waiting: null };
  const before = regions.findLastIndex((one) => one.end <= at);
  return { regions: before < 0 ? regions : changed(regions, before, { ...regions[before], end: at }, samples), waiting };
}
