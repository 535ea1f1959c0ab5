/** What can be done to the take in the editor: regions, positions, zoom. Every gesture and key has its function here. */

import { openTake, place } from "./state/actions.js";
import { extension, previewOffset } from "./state/shown.js";
import { beatSample, gridOf } from "./state/tempo.js";
import { beatsTo, snapped, toSample, whole, within, zoomed } from "./view/grid.js";
import { changed, inverted, letter, marked, tidy, withEdge } from "./view/regions.js";
import { words } from "./strings-editor.js";

/**
 * @typedef {import("./net/events.js").Store} Store
 * @typedef {import("./audio/player.js").Player} Player
 * @typedef {import("./types.js").State} State
 * @typedef {import("./types.js").Span} Span
 * @typedef {"start" | "end"} Edge
 * @typedef {ReturnType<typeof createEditing>} Editing
 */

export const MARGIN = 30; // pixels beside the take when all of it is in view
const SNAP_PIXELS = 9;
export const FINE_SECONDS = 0.01; // a step of the arrow keys without a grid
const NEW_SECONDS = 0.5; // a region that is added without a selection

/** The view of the whole take and of its extension. @param {State} state */
export function wholeView(state) {
  const take = openTake(state);
  const { rate, samples } = take?.audio ?? { rate: 44_100, samples: 44_100 };
  const { before, after } = extension(state);
  return whole(-before * rate, samples + after * rate, state.view.width, MARGIN);
}

/** What is in view. @param {State} state */
export function viewOf(state) {
  const all = wholeView(state);
  const { zoom, width } = state.view;
  return zoom && zoom.perPixel < all.perPixel ? { ...within(zoom, all), width } : all;
}

/**
 * @param {Store} store
 * @param {Player} player
 */
export function createEditing(store, player) {
  const audio = () => openTake(store.state)?.audio ?? { rate: 44_100, samples: 0 };
  const samples = () => audio().samples;
  const position = () => player.position - previewOffset(store.state);
  const regions = () => place(store.state).regions;
  let lastSnap = store.state.settings.snap === "off" ? /** @type {const} */ ("beat") : store.state.settings.snap;
  let merges = 0;

  /** @param {Span[]} next @param {boolean} [merge] */
  const setRegions = (next, merge = false) => {
    store.send({ type: "place", place: { regions: next }, merge });
    if (next.length > 0 && store.state.words.mode !== "remake") store.send({ type: "words", words: { mode: "remake" } });
  };
  /** @param {Span | null} selection */
  const select = (selection) => store.send({ type: "place", place: { selection }, merge: true });
  /** @param {{start: number, perPixel: number} | null} zoom */
  const setZoom = (zoom) => store.send({ type: "view", view: { zoom } });

  const editing = {
    samples,
    rate: () => audio().rate,
    regions,
    setRegions,
    select,

    /** Where a position snaps to. @param {number} sample @param {boolean} [free] */
    snap: (sample, free = false) => {
      const { state } = store;
      const take = openTake(state);
      const around = {
        mode: free ? /** @type {const} */ ("off") : state.settings.snap, grid: gridOf(state), rate: audio().rate, samples: samples(),
        reach: SNAP_PIXELS * viewOf(state).perPixel, sound: player.sound?.samples === samples() ? player.sound : null,
        onsets: take ? (state.measures[take.id]?.onsets ?? []) : [],
      };
      return snapped(sample, around);
    },

    /** The playhead, in samples of the take. */
    position,
    /** @param {number} sample */
    seek: (sample) => player.seek(sample + previewOffset(store.state)),
    /** Go there, and hear it for a moment. @param {number} sample */
    scrub: (sample) => player.scrub(sample + previewOffset(store.state)),

    /**
     * The next position of the arrow keys: a beat or bar if these are snapped to, 10 ms, or one sample.
     * @param {number} from @param {number} direction @param {boolean} [fine]
     */
    next: (from, direction, fine = false) => {
      const { snap } = store.state.settings;
      const grid = snap === "beat" || snap === "bar" ? gridOf(store.state) : null;
      if (fine) return from + direction;
      if (!grid) return from + direction * Math.round(FINE_SECONDS * audio().rate);
      const unit = snap === "bar" ? grid.beats : 1;
      const at = beatsTo(grid, audio().rate, from + direction * 0.5) / unit;
      return beatSample(grid, audio().rate, (direction > 0 ? Math.floor(at) + 1 : Math.ceil(at) - 1) * unit);
    },

    /** Move the playhead; with `selecting` the selection grows along. @param {number} to @param {boolean} [selecting] */
    go: (to, selecting = false) => {
      const from = position();
      const at = Math.max(0, Math.min(Math.round(to), samples()));
      if (selecting) {
        const { selection } = place(store.state);
        const anchor = selection?.start === from ? selection.end : (selection?.end === from ? selection.start : from);
        select(anchor === at ? null : { start: Math.min(anchor, at), end: Math.max(anchor, at) });
      }
      editing.seek(at);
      editing.reveal(at);
    },

    /** Move the first beat of a bar; all others go along. @param {number} to */
    moveBeat: (to) => {
      const { take } = place(store.state);
      const first = Math.max(0, Math.min(Math.round(to), samples() - 1));
      if (take && gridOf(store.state)) store.send({ type: "grid", take, grid: { first } });
    },

    /** Regions while a new one is drawn: merges with others are made on the way. @param {Span[]} base @param {Span | null} span @param {boolean} merge */
    draw: (base, span, merge) => setRegions(span ? tidy([...base, span], samples()) : base, merge),

    /** @param {number} index @param {Span | null} span @param {boolean} [merge] */
    change: (index, span, merge = false) => setRegions(changed(regions(), index, span, samples()), merge),
    /** @param {number} index @param {Edge} edge @param {number} to @param {boolean} [both] */
    moveEdge: (index, edge, to, both = false) => {
      const before = regions();
      const span = before[index];
      if (!span || (!both && (edge === "start" ? to >= span.end : to <= span.start))) return;
      editing.change(index, withEdge(span, edge, to, samples(), both));
      editing.noteMerge(before.length);
    },
    /** Say that regions were merged, if there are fewer than before. @param {number} before */
    noteMerge: (before) => {
      if (regions().length < before && regions().length > 0) editing.say(words.regions.merged(merges++ === 0));
    },
    /** Told to the user below the editor. @type {(text: string) => void} */
    say: () => {},
    invert: () => setRegions(inverted(regions(), samples())),
    clear: () => setRegions([]),

    /** Make a region of the selection, or behind the playhead. */
    add: () => {
      const { selection } = place(store.state);
      const start = Math.max(0, position());
      const grid = gridOf(store.state);
      const length = grid ? beatSample(grid, audio().rate, 1) - grid.first : Math.round(NEW_SECONDS * audio().rate);
      const marked = selection && selection.start < selection.end ? selection : { start, end: Math.min(start + length, samples()) };
      const before = regions().length;
      store.send({ type: "place", place: { selection: null }, merge: true });
      setRegions(tidy([...regions(), marked], samples()));
      editing.noteMerge(before + 1);
    },

    /** Set an edge where the ear was at the press of `[` or `]`, however late the page hears of it. @param {Edge} edge */
    mark: (edge) => {
      const late = player.playing && window.event instanceof KeyboardEvent ? (performance.now() - window.event.timeStamp) / 1000 : 0;
      const at = Math.max(0, Math.min(position() - Math.round(late * audio().rate), samples()));
      const found = marked(regions(), place(store.state).selection?.start ?? null, edge, at, samples());
      if (found.regions !== regions()) setRegions(found.regions);
      else if (found.waiting === null) editing.say(words.regions.noStart(store.state.settings.keyMap["["]?.toUpperCase() ?? "["));
      select(found.waiting === null ? null : { start: found.waiting, end: found.waiting });
    },

    /** Remove the region that has the focus, else that at the playhead, else the last one. */
    removeAny: () => {
      const focused = document.activeElement?.closest?.("[data-region]");
      const at = Math.max(0, Math.min(position(), samples()));
      const inside = regions().findIndex(({ start, end }) => at >= start && at <= end);
      const index = focused instanceof HTMLElement ? Number(focused.dataset.region) : inside >= 0 ? inside : regions().length - 1;
      if (index >= 0) editing.remove(index);
    },
    /** @param {number} index */
    remove: (index) => {
      editing.say(words.regions.removed(letter(index)));
      editing.change(index, null);
    },

    /**
     * Give a region its own words; null: those of the others.
     * @param {number} index @param {string | null} text @param {boolean} [merge]
     */
    ownWords: (index, text, merge = false) => setRegions(regions().map((one, at) => {
      if (at !== index) return one;
      const { start, end } = one;
      return text === null ? { start, end } : { start, end, words: text };
    }), merge),

    /** Play a region with a second around it. @param {number} index */
    playAround: (index) => {
      const { start, end } = regions()[index];
      player.playSpan({ start: Math.max(0, start - audio().rate), end: Math.min(samples(), end + audio().rate) });
    },

    /** Make the take longer. @param {"before" | "after"} side @param {number} count samples */
    extend: (side, count) => {
      const { mode } = store.state.words;
      const other = side === "before" ? "after" : "before";
      const rest = mode === "extend" ? {} : { [other]: 0 };
      store.send({ type: "words", words: { mode: "extend", ...rest, [side]: Math.max(0, count) / audio().rate } });
    },
    /** Samples that a press of a ⊕ adds: four bars, or two seconds. */
    extensionStep: () => {
      const grid = gridOf(store.state);
      return grid ? beatSample(grid, audio().rate, 4 * grid.beats) - grid.first : 2 * audio().rate;
    },

    /** Zoom around a pixel, by default the playhead or the middle. @param {number} factor @param {number} [x] */
    zoomBy: (factor, x) => {
      const view = viewOf(store.state);
      const head = (position() - view.start) / view.perPixel;
      setZoom(zoomed(view, wholeView(store.state), factor, x ?? (head >= 0 && head <= view.width ? head : view.width / 2)));
    },
    showAll: () => setZoom(null),
    /** @param {number} pixels */
    scroll: (pixels) => {
      const view = viewOf(store.state);
      if (store.state.view.zoom) setZoom(within({ start: view.start + pixels * view.perPixel, perPixel: view.perPixel }, wholeView(store.state)));
    },
    /** Bring a sample into view, a page further if it is not. @param {number} sample */
    reveal: (sample) => {
      const view = viewOf(store.state);
      const room = view.width * 0.05;
      const x = (sample - view.start) / view.perPixel;
      if (!store.state.view.zoom || (x >= 0 && x <= view.width)) return;
      setZoom(within({ start: sample - (x < 0 ? view.width - room : room) * view.perPixel, perPixel: view.perPixel }, wholeView(store.state)));
    },
    /** @param {number} x */
    sampleAt: (x) => toSample(viewOf(store.state), x),

    nextLayers: () => {
      const order = /** @type {const} */ (["wave", "spectrogram", "both"]);
      store.send({ type: "view", view: { layers: order[(order.indexOf(store.state.view.layers) + 1) % 3] } });
    },
    toggleSnap: () => {
      const { snap } = store.state.settings;
      if (snap !== "off") lastSnap = snap;
      store.send({ type: "settings", settings: { snap: snap === "off" ? lastSnap : "off" } });
      editing.say(words.snap.now(words.snap[store.state.settings.snap]));
    },
  };
  return editing;
}

/** @type {Record<import("./types.js").Command, (editing: Editing) => void>} */
export const COMMANDS = {
  zoomIn: (editing) => editing.zoomBy(2),
  zoomOut: (editing) => editing.zoomBy(0.5),
  zoomAll: (editing) => editing.showAll(),
  view: (editing) => editing.nextLayers(),
  snap: (editing) => editing.toggleSnap(),
  regionStart: (editing) => editing.mark("start"),
  regionEnd: (editing) => editing.mark("end"),
  regionDelete: (editing) => editing.removeAny(),
};
