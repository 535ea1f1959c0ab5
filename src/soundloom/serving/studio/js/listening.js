/** What plays: which takes, how loud, what repeats. The player follows the state. */

import { soundOf } from "./audio/wav.js";
import { api, ApiError } from "./net/api.js";
import { candidateTakes, place } from "./state/actions.js";
import { previewOffset } from "./state/shown.js";
import { gridOf, tappedTempo } from "./state/tempo.js";
import { t } from "./strings.js";

/** @typedef {import("./net/events.js").Store} Store */
/** @typedef {import("./audio/player.js").Player} Player */
/** @typedef {import("./types.js").State} State */
/** @typedef {import("./audio/wav.js").Sound} Sound */
/** @typedef {<T>(work: () => Promise<T>) => Promise<T | undefined>} Attempt */

const SIDES = /** @type {const} */ (["a", "b"]);
const SAME_LOUDNESS = 0.1; // LU: nobody hears it, and equal samples stay equal

/**
 * The takes of both sides: B is the one in the editor, or a candidate; A is what it is compared with.
 * @param {State} state
 * @returns {Record<"a" | "b", string | null>}
 */
export function sidesOf(state) {
  const { take } = place(state);
  const { preview } = state.listening;
  if (!preview || preview === take) return { a: state.compare, b: take };
  return { a: take ?? state.compare, b: preview };
}

/** @param {State} state @param {string | null} take */
export function isCandidate(state, take) {
  return candidateTakes(state).some((one) => one.take === take);
}

/**
 * The takes that the one in the editor can be compared with: those that were in the editor, and the new ones.
 * @param {State} state
 * @returns {import("./types.js").Take[]}
 */
export function comparable(state) {
  const ids = new Set([...state.undo.nodes.map((node) => node.value.take).reverse(), ...candidateTakes(state).map((one) => one.take)]);
  ids.delete(place(state).take);
  return [...ids].flatMap((id) => (id && state.takes[id] && !state.takes[id].deleted ? [state.takes[id]] : []));
}

/**
 * The samples by which A begins later than B, so that both are in time: B may have got a new beginning, or A.
 * @param {State} state
 */
export function leadOf(state) {
  const { a, b } = sidesOf(state);
  const [ofA, ofB] = [a, b].map((id) => (id ? state.comparisons[id] : null));
  if (ofB && ofB.parent === a) return ofB.offset;
  return ofA && ofA.parent === b ? -ofA.offset : 0;
}

/**
 * The regions of B that A has too, so that each can play as it was.
 * @param {State} state
 * @returns {import("./types.js").Span[]} in samples of B
 */
export function changedRegions(state) {
  const { a, b } = sidesOf(state);
  const found = b ? state.comparisons[b] : null;
  const before = a ? state.takes[a] : null;
  if (!found || !before || found.parent !== a) return [];
  const inside = found.new.filter(([start, end]) => start >= found.offset && end - found.offset <= before.audio.samples);
  return inside.map(([start, end]) => ({ start, end }));
}

/**
 * A sound with some spans of another one, which begins later.
 * @param {Sound} sound
 * @param {Sound} other
 * @param {import("./types.js").Span[]} spans
 * @param {number} lead
 * @returns {Sound}
 */
export function patched(sound, other, spans, lead) {
  const channels = sound.channels.map((samples, index) => {
    const copy = samples.slice();
    for (const { start, end } of spans) copy.set(other.channels[index % other.channels.length].subarray(start - lead, end - lead), start);
    return copy;
  });
  return { ...sound, channels };
}

/** The side that plays. @param {State} state @returns {"a" | "b"} */
export function sideOf({ blind, listening }) {
  if (!blind) return listening.side;
  return blind.hearing === "x" ? blind.x : blind.hearing;
}

/**
 * How many dB each side is turned down, so that all that are compared are as loud as the quietest. Never up.
 * @param {State} state
 * @returns {Record<"a" | "b", number>}
 */
export function offsetsOf(state) {
  const { a, b } = sidesOf(state);
  const { preview, matched, difference } = state.listening;
  const compared = [a, b, ...(preview ? candidateTakes(state).map((one) => one.take) : [])];
  const loudness = (/** @type {string | null} */ id) => (id ? (state.measures[id]?.loudness ?? null) : null);
  const known = compared.map(loudness).filter((value) => value !== null);
  const lowest = Math.min(...known);
  if (!matched || difference || Math.max(...known) - lowest <= SAME_LOUDNESS) return { a: 0, b: 0 };
  const offset = (/** @type {string | null} */ id) => Math.min(0, lowest - (loudness(id) ?? lowest));
  return { a: offset(a), b: offset(b) };
}

/**
 * What repeats; null: nothing does.
 * @param {State} state
 * @returns {import("./types.js").Span | null}
 */
export function loopOf(state) {
  const { loop, brace } = state.listening;
  const { selection } = place(state);
  if (!loop && !state.blind) return null;
  const span = brace ?? (selection && selection.end > selection.start ? selection : null);
  const offset = previewOffset(state);
  return span ? { start: span.start + offset, end: span.end + offset } : { start: 0, end: Infinity };
}

/**
 * The probability of at least so many right answers by guessing.
 * @param {number} right
 * @param {number} count
 */
export function byChance(right, count) {
  let sum = 0;
  let ways = 1; // to have `found` right answers
  for (let found = 0; found <= count; found++) {
    if (found >= right) sum += ways;
    ways = (ways * (count - found)) / (found + 1);
  }
  return sum / 2 ** count;
}

/**
 * @param {Store} store
 * @param {Player} player
 * @param {Attempt} attempt
 */
export function createListening(store, player, attempt) {
  const set = (/** @type {Partial<State["listening"]>} */ listening) => store.send({ type: "listening", listening });
  const draw = () => /** @type {"a" | "b"} */ (Math.random() < 0.5 ? "a" : "b");
  /** @type {number[]} */
  let taps = [];

  const listening = {
    /** Play the selection, or from the playhead; pause if it plays. @param {boolean} [fromPlayhead] */
    togglePlay: (fromPlayhead = false) => {
      const { selection } = place(store.state);
      if (player.playing) player.pause();
      else if (!fromPlayhead && selection && selection.end > selection.start && !store.state.listening.loop) player.playSpan(selection);
      else player.play();
    },
    toggleLoop: () => set({ loop: !store.state.listening.loop }),
    /** Repeat a span. @param {import("./types.js").Span | null} brace null: the selection, or the whole take */
    repeat: (brace) => set({ brace, loop: true }),

    /** Hear a side. @param {"a" | "b"} side */
    choose: (side) => set({ side, difference: false }),
    /** Hear the other side. @returns {boolean} whether there is one */
    switchSide: () => {
      const { side } = store.state.listening;
      const { a, b } = sidesOf(store.state);
      if (store.state.blind || !a || !b) return false;
      listening.choose(side === "a" ? "b" : "a");
      return true;
    },
    /** Hear a take in place of the one in the editor, from the same position. @param {string} id */
    listen: (id) =>
      attempt(async () => {
        set({ preview: id, side: "b", difference: false, before: [] });
        const sound = await soundOf(id);
        if (store.state.listening.preview !== id) return;
        if (!player.loaded.b || player.loaded.b !== sound) player.set("b", sound);
        if (!player.playing) player.play();
      }),
    /** Hear a region of an edit as it was, or as it is. @param {number} index */
    toggleRegion: (index) => {
      const { before } = store.state.listening;
      set({ before: before.includes(index) ? before.filter((one) => one !== index) : [...before, index] });
    },
    /** Change how it plays. */
    setListening: set,

    /** A tap of the beat: the tempo of the taps is that of the take. */
    tap: () => {
      const { take } = place(store.state);
      taps = [...taps.slice(-16), performance.now()];
      const bpm = tappedTempo(taps);
      if (take && bpm) store.send({ type: "grid", take, grid: { bpm } });
    },
    /** @param {Partial<import("./types.js").Grid>} grid */
    setGrid: (grid) => {
      const { take } = place(store.state);
      if (take) store.send({ type: "grid", take, grid });
    },

    /** Begin a blind test, or the next round. @param {boolean[]} [answers] */
    blind: (answers = []) => {
      store.send({ type: "blind", blind: { x: draw(), hearing: "x", answers } });
      if (!player.playing) player.play();
    },
    /** @param {"a" | "b" | "x"} hearing */
    hear: (hearing) => {
      const { blind } = store.state;
      if (blind) store.send({ type: "blind", blind: { ...blind, hearing } });
    },
    /** Say what X is. @param {"a" | "b"} side */
    answer: (side) => {
      const { blind } = store.state;
      if (blind) listening.blind([...blind.answers, blind.x === side]);
    },
    endBlind: () => store.send({ type: "blind", blind: null }),
  };

  follow(store, player, attempt);
  watchMeasures(store);
  // what played in another screen is not what the editor shows
  store.watch((state) => [state.screen], (screen) => {
    const { preview } = store.state.listening;
    if (screen === "studio" && preview && !isCandidate(store.state, preview)) set({ preview: null });
  });
  // the first of the new takes plays when it is done, if the settings say so
  store.watch((state) => [state.settings.playWhenDone && candidateTakes(state)[0]?.take], (take) => {
    if (take && !player.playing) void listening.listen(take);
  });
  return listening;
}

/**
 * Let the player do what the state says.
 * @param {Store} store
 * @param {Player} player
 * @param {Attempt} attempt
 */
function follow(store, player, attempt) {
  for (const side of SIDES) {
    const lead = () => (side === "a" ? leadOf(store.state) : 0);
    store.watch((state) => [sidesOf(state)[side], side === "a" && leadOf(state), side === "b" && state.listening.before], (id) => {
      if (!id) player.set(side, null);
      else {
        void attempt(async () => {
          const sound = side === "b" ? await asBefore(store.state, await soundOf(id)) : await soundOf(id);
          if (sidesOf(store.state)[side] === id) player.set(side, sound, lead());
        });
      }
    });
  }
  store.watch((state) => [sideOf(state), state.listening.difference && !state.blind], (side, difference) => player.choose(side, difference));
  store.watch((state) => [offsetsOf(state).a, offsetsOf(state).b], (a, b) => player.setLevels({ a: 10 ** (a / 20), b: 10 ** (b / 20) }));
  store.watch((state) => [loopOf(state)?.start, loopOf(state)?.end], (start, end) =>
    player.repeat(start === undefined || end === undefined ? null : { start, end }));
  store.watch((state) => [state.listening.volume], (volume) => player.setVolume(volume));
  store.watch((state) => [state.listening.speed], (speed) => player.setSpeed(speed));
  const beats = (/** @type {State} */ state) => (state.listening.metronome ? gridOf(state, sidesOf(state).b) : null);
  store.watch((state) => [beats(state)?.bpm, beats(state)?.first, beats(state)?.beats], () => player.metronome.set(beats(store.state)));
  player.addEventListener("change", () => {
    const { playing } = player;
    if (playing !== store.state.listening.playing) store.send({ type: "listening", listening: { playing } });
  });
  player.addEventListener("silent", () => store.send({ type: "problem", problem: t.noDevice }));
}

/**
 * B with the regions that play as they were in A.
 * @param {State} state
 * @param {Sound} sound
 */
async function asBefore(state, sound) {
  const { a } = sidesOf(state);
  const spans = changedRegions(state).filter((_, index) => state.listening.before.includes(index));
  return a && spans.length > 0 ? patched(sound, await soundOf(a), spans, leadOf(state)) : sound;
}

/**
 * Have the takes measured that are seen.
 * @param {Store} store
 */
function watchMeasures(store) {
  /** @type {Set<string>} */
  const asked = new Set();
  const ask = async (/** @type {string} */ take) => {
    asked.add(take);
    try {
      store.send({ type: "measure", take, measure: await api.measure(take) });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 0) asked.delete(take); // there was no answer: it is asked for again
      else store.send({ type: "measure", take, measure: null });
    }
  };
  const seen = (/** @type {State} */ state) => [sidesOf(state).a, sidesOf(state).b, ...candidateTakes(state).map((one) => one.take)];
  store.watch((state) => [seen(state).join(), state.connection], (_, connection) => {
    if (connection !== "open") return;
    for (const take of seen(store.state)) if (take && !asked.has(take)) void ask(take);
  });
}
