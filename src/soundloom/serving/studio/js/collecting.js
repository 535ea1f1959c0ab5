/** Find, mark, delete and export takes. Loaded with the library. */

import { api } from "./net/api.js";
import { routes, save, subtypeOf } from "./net/library.js";
import { allRows, choose, PAGE, pagesOf } from "./state/rows.js";
import { searchQuery } from "./state/search.js";
import { library as words } from "./strings-library.js";

/** @typedef {import("./net/events.js").Store} Store */
/** @typedef {import("./types.js").Library} Library */
/** @typedef {import("./types.js").TakesChange} TakesChange */
/** @typedef {<T>(work: () => Promise<T>) => Promise<T | undefined>} Attempt */
/** @typedef {ReturnType<typeof createCollecting>} Collecting */

/**
 * @param {Store} store
 * @param {Attempt} attempt
 */
export function createCollecting(store, attempt) {
  const finder = new Finder(store, attempt);
  const set = (/** @type {Partial<Library>} */ library) => store.send({ type: "library", library });

  /**
   * Change takes at once; the notice takes it back.
   * @param {TakesChange} change
   * @param {(count: number) => string} say
   */
  const change = (change, say) =>
    attempt(async () => {
      const changed = await routes.change(change);
      known(store, changed, change);
      if (changed.length > 0) store.send({ type: "toast", toast: { text: say(changed.length), undo: inverse(change, changed) } });
      if (change.deleted !== undefined) drop(changed);
      return changed;
    });

  /** No longer choose takes. @param {string[]} ids */
  const drop = (ids) => {
    const { chosen } = store.state.library;
    if (ids.some((id) => chosen.has(id))) set({ chosen: new Set([...chosen].filter((id) => !ids.includes(id))) });
  };

  return {
    /** Look for other takes. @param {Partial<Pick<Library, "query" | "order" | "deleted">>} search */
    search: (search) => {
      set({ ...search, ...(search.deleted === undefined ? {} : { chosen: new Set(), anchor: null }) });
      return finder.begin();
    },
    /** Ask again for what is in view. */
    refresh: () => finder.renew(),
    /** Have rows loaded. @param {number} first @param {number} last */
    need: (first, last) => finder.need(first, last),

    /** Mark a take, or with `range` all from the last one that was marked. @param {string} id @param {boolean} on @param {boolean} range */
    choose: (id, on, range) =>
      attempt(async () => {
        const { anchor } = store.state.library;
        const ids = range && anchor ? await finder.ids() : [];
        set({ chosen: choose(store.state.library.chosen, id, on, range && anchor ? { ids, anchor } : null), anchor: id });
      }),
    /** Mark all that are found. */
    chooseAll: () => attempt(async () => set({ chosen: new Set(await finder.ids()) })),
    chooseNone: () => set({ chosen: new Set(), anchor: null }),

    /** @param {string[]} takes @param {boolean} favorite */
    star: (takes, favorite) => change({ takes, favorite }, (count) => (favorite ? words.starred(count) : words.unstarred(count))),
    /** @param {string[]} takes @param {string} tag */
    tag: (takes, tag) => change({ takes, add_tag: tag }, (count) => words.tagged(count, tag)),
    /** @param {string[]} takes @param {string} tag */
    untag: (takes, tag) => change({ takes, remove_tag: tag }, (count) => words.untagged(count, tag)),
    /** @param {string[]} takes */
    remove: (takes) => change({ takes, deleted: true }, words.removed),
    /** @param {string[]} takes */
    restore: (takes) => change({ takes, deleted: false }, words.restored),
    /** Take back what a notice tells. */
    undo: () => {
      const undo = store.state.toast?.undo;
      store.send({ type: "toast", toast: null });
      if (undo) void attempt(async () => known(store, await routes.change(undo), undo));
    },

    /** Save takes as one zip file. @param {string[]} takes */
    export: (takes) =>
      attempt(async () => {
        const { settings } = store.state;
        const found = await routes.export(takes, settings.format, subtypeOf(settings));
        save(found.url, found.name);
        store.send({ type: "toast", toast: { text: words.exported(found.takes, found.missing), undo: null } });
      }),
    /** @returns {Promise<{tag: string, takes: number}[]>} the tags that are used, the most frequent first */
    tags: async () => (await attempt(routes.tags)) ?? [],
  };
}

/** Asks for the pages of what is found. */
class Finder {
  /**
   * @param {Store} store
   * @param {Attempt} attempt
   */
  constructor(store, attempt) {
    this.store = store;
    this.attempt = attempt;
    this.search = 0; // answers to an older one are dropped
    /** @type {Set<number>} pages that were asked for and are up to date */
    this.asked = new Set();
    this.first = 0;
    this.last = PAGE;
  }

  /** Begin a new search. What was found stays until the first page is there. */
  begin() {
    this.first = 0;
    this.last = PAGE;
    return this._again(true);
  }

  /** The library changed: ask again for what is in view. */
  renew() {
    return this._again(false);
  }

  /** @param {boolean} clear */
  async _again(clear) {
    this.search++;
    this.asked.clear();
    await Promise.all(pagesOf(this.first, Math.max(this.last, 1)).map((page) => this._ask(page, clear)));
  }

  /**
   * @param {number} first
   * @param {number} last
   */
  need(first, last) {
    this.first = first;
    this.last = last;
    for (const page of pagesOf(first, last)) void this._ask(page, false);
  }

  /**
   * @param {number} page
   * @param {boolean} clear forget the other pages
   */
  async _ask(page, clear) {
    if (this.asked.has(page)) return;
    this.asked.add(page);
    const { search, store } = this;
    const query = searchQuery(store.state.library);
    query.set("limit", String(PAGE));
    query.set("offset", String(page * PAGE));
    const found = await this.attempt(() => api.takes(query));
    if (search !== this.search) return;
    if (!found) {
      this.asked.delete(page);
      return;
    }
    store.send({ type: "takes", takes: found.takes });
    const ids = found.takes.map((take) => take.id);
    const pages = clear ? {} : store.state.library.pages;
    store.send({ type: "library", library: { count: found.count, pages: { ...pages, [page]: ids } } });
  }

  /** The ids of all that are found. */
  async ids() {
    const { pages, count } = this.store.state.library;
    return allRows(pages, count ?? 0) ?? routes.ids(searchQuery(this.store.state.library));
  }
}

/**
 * Show a change of takes at once.
 * @param {Store} store
 * @param {string[]} ids
 * @param {TakesChange} change
 */
function known(store, ids, { favorite, deleted, add_tag, remove_tag }) {
  const takes = ids.flatMap((id) => store.state.takes[id] ?? []).map((take) => ({
    ...take,
    favorite: favorite ?? take.favorite,
    deleted: deleted === undefined ? take.deleted : deleted ? Date.now() / 1000 : null,
    tags: [...new Set([...take.tags, ...(add_tag ? [add_tag] : [])])].filter((tag) => tag !== remove_tag).sort(),
  }));
  store.send({ type: "takes", takes });
}

/**
 * @param {TakesChange} change
 * @param {string[]} takes
 * @returns {TakesChange}
 */
function inverse({ favorite, deleted, add_tag, remove_tag }, takes) {
  if (favorite !== undefined) return { takes, favorite: !favorite };
  if (deleted !== undefined) return { takes, deleted: !deleted };
  return add_tag ? { takes, remove_tag: add_tag } : { takes, add_tag: remove_tag };
}
