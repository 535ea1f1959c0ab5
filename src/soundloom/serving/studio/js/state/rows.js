/** A long list of which only some rows exist: which ones, and which of them are chosen. Pure. */

export const PAGE = 100; // rows that are asked for at once

/**
 * The rows in view, and some around them.
 * @param {number} top how far the list is scrolled, in pixels; negative if it begins below the top of the view
 * @param {number} height of the view
 * @param {number} row height of a row
 * @param {number} count of all rows
 * @param {number} [around]
 * @returns {{first: number, last: number}} from `first` up to, not including, `last`
 */
export function rowsInView(top, height, row, count, around = 8) {
  const first = Math.max(0, Math.min(count, Math.floor(top / row) - around));
  return { first, last: Math.max(first, Math.min(count, Math.ceil((top + height) / row) + around)) };
}

/**
 * The pages that hold these rows.
 * @param {number} first
 * @param {number} last
 * @returns {number[]}
 */
export function pagesOf(first, last) {
  const pages = [];
  for (let page = Math.floor(first / PAGE); page * PAGE < last; page++) pages.push(page);
  return pages;
}

/**
 * @param {Record<number, string[]>} pages
 * @param {number} index
 * @returns {string | undefined} undefined: not loaded yet
 */
export function rowAt(pages, index) {
  return pages[Math.floor(index / PAGE)]?.[index % PAGE];
}

/**
 * All rows in order, if they are loaded.
 * @param {Record<number, string[]>} pages
 * @param {number} count
 * @returns {string[] | null}
 */
export function allRows(pages, count) {
  const found = pagesOf(0, count).flatMap((page) => pages[page] ?? []);
  return found.length === count ? found : null;
}

/**
 * Choose or drop a row. With `ids`, do so for all from `anchor` to it.
 * @param {ReadonlySet<string>} chosen
 * @param {string} id
 * @param {boolean} on
 * @param {{ids: string[], anchor: string} | null} [range]
 * @returns {ReadonlySet<string>}
 */
export function choose(chosen, id, on, range = null) {
  const found = new Set(chosen);
  const from = range ? range.ids.indexOf(range.anchor) : -1;
  const to = range ? range.ids.indexOf(id) : -1;
  const ids = range && from >= 0 && to >= 0 ? range.ids.slice(Math.min(from, to), Math.max(from, to) + 1) : [id];
  for (const one of ids) {
    if (on) found.add(one);
    else found.delete(one);
  }
  return found;
}
