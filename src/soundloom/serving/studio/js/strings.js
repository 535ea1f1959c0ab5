/** All words of the page. Functions where numbers or names go in. */

import { asking } from "./strings-asking.js";

export const plural = (/** @type {number} */ count, /** @type {string} */ one, /** @type {string} */ many) =>
  `${count} ${count === 1 ? one : many}`;

const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat();

export const t = {
  title: "soundloom",
  skip: "Skip to the editor",
  nav: { label: "Screens", studio: "Studio", library: "Library", batch: "Batch", models: "Models" },
  theme: "Light or dark",
  help: "Keyboard shortcuts",
  settings: "Settings",
  stays: (/** @type {boolean} */ here) => (here ? "Stays on this machine." : "Stays on the server."),
  model: "Model",
  demonstration: "demonstration model",
  demonstrationMore: (/** @type {number} */ seconds) =>
    `Demonstration model: ten kinds of simple sounds, up to ${number.format(seconds)} s, audibly noisy. ` +
    "It shows how everything works; the large models sound far better.",
  getOne: "Get one",

  connection: {
    lost: "Not connected, trying again. Your jobs go on.",
    login: "This page needs the server's token.",
    token: "Token",
    tokenHint: "It is in the file library/token of the data folder, or open the link that soundloom serve printed.",
    enter: "Log in",
    wrong: "The server does not know this token.",
  },

  mode: { label: "What to do", make: "New", vary: "Vary", remake: "Remake", extend: "Extend", edit: "Edit" },
  ...asking,
  prompt: "Prompt",
  promptHint: "What should it sound like?",
  length: "Length",
  seconds: "s",
  takes: "Takes",
  seed: "Seed",
  drawn: "drawn",
  newSeed: "Draw a seed for each take",
  change: "Change",
  crossfade: "Crossfade",
  milliseconds: "ms",
  before: "Before",
  after: "After",
  button: {
    make: (/** @type {number} */ count) => `Make ${count}`,
    vary: (/** @type {number} */ count) => (count === 1 ? "Vary" : `Vary, ${plural(count, "take", "takes")}`),
    remake: (/** @type {number} */ regions, /** @type {number} */ passes) =>
      regions === 0 ? "Remake regions" : `Remake ${plural(regions, "region", "regions")}${passes > 1 ? ` in ${passes} passes` : ""}`,
    extend: (/** @type {string} */ before, /** @type {string} */ after) =>
      `Extend by ${before ? `${before} before${after ? `, ${after} after` : ""}` : after}`,
    edit: "Edit",
  },
  about: (/** @type {number} */ seconds) => `about ${duration(seconds)}`,
  inPasses: (/** @type {number} */ passes) => `made in ${plural(passes, "pass", "passes")}`,
  obstacle: {
    connection: "The server is not connected.",
    model: "This model is not downloaded.",
    mode: (/** @type {string} */ model, /** @type {import("./types.js").Mode} */ mode) =>
      `${model} cannot ${{ make: "make new takes", vary: "vary takes", remake: "remake regions", extend: "extend takes", loop: "make loops", edit: "edit by words" }[mode]}.`,
    wording: "The prompt cannot be used as it is.",
    tempo: "Say the tempo, here or in the prompt.",
    prompt: "Write what it should sound like.",
    source: "Open a take first.",
    missing: "The file of this take is missing.",
    regions: "Draw a region on the waveform.",
    extend: "Say how much longer it should be.",
  },

  editor: {
    label: "Editor",
    empty: "Nothing here yet. Write some words and press the main button, or drop a sound file.",
    examples: "For example",
    playsA: "A is shown and plays",
    plays: (/** @type {number} */ take, /** @type {number} */ of) => `${take ? `take ${take} of ${of}` : "another take"} is shown and plays`,
    exact: (/** @type {string} */ samples, /** @type {number} */ rate) => `${samples} samples at ${rate} Hz`,
  },
  news: {
    started: (/** @type {number} */ count) => `Started: ${plural(count, "take", "takes")}.`,
    quarter: (/** @type {number} */ percent) => `${percent} % done.`,
    done: (/** @type {number} */ count) => `Done: ${plural(count, "take is ready", "takes are ready")}.`,
    failed: (/** @type {string} */ reason) => `Failed: ${reason}.`,
    canceled: (/** @type {number} */ count) => `Canceled; ${plural(count, "take is ready", "takes are ready")}.`,
  },
  drawer: { words: "More", less: "Less", history: "History", menu: "Menu", close: "Close history" },
  kind: {
    generate: "made",
    vary: "varied",
    inpaint: "remade",
    extend: "extended",
    loop: "loop",
    edit: "edited",
    upload: "imported",
    mix: "mixed",
  },
  stage: { load: "reads the model", text: "reads the words", encode: "reads the sound", sample: "makes", decode: "writes" },

  transport: {
    label: "Transport",
    play: "Play",
    pause: "Pause",
    toStart: "To the start",
    loop: "Loop",
    position: "Position",
    volume: "Volume",
    bar: (/** @type {string} */ bar) => `bar ${bar}`,
  },
  compare: {
    label: "Compare",
    with: "A is",
    regions: "As before",
    region: (/** @type {string} */ name) => `Region ${name}`,
    regionsShort: "mixed",
    before: "the take before",
    current: "the take in the editor",
    candidate: "the new take",
    preview: "the take that you chose to hear",
    turnedDown: (/** @type {string} */ by) => `Turned down by ${by}, so that both are equally loud`,
    notTurnedDown: "Not turned down",
    differenceShort: "A − B",
    differenceMore: "Only what differs is heard, at its own level",
  },
  listening: {
    label: "Listening",
    halfShort: "½ speed",
    metronomeShort: "metronome",
  },
  facts: {
    label: "Tempo and key",
    measuring: "Measuring …",
    bpm: (/** @type {string} */ bpm) => `${bpm} BPM`,
    asked: " asked",
    typed: " typed",
    measured: " measured",
    unsure: ", unsure",
  },
  meter: {
    label: "Level",
    peak: (/** @type {string} */ peak) => `Highest true peak ${peak}. Press to begin anew.`,
    over: "over",
    silent: "silent",
  },
  queue: {
    label: "Queue",
    idle: "Queue empty",
    running: (/** @type {number} */ take, /** @type {number} */ of, /** @type {number} */ percent) =>
      `take ${take} of ${of} · ${percent} %`,
    more: (/** @type {number} */ count) => `${count} more`,
    cancel: "Cancel",
    retry: "Retry",
    paused: "Queue paused",
    interrupted: "was interrupted and runs again",
    details: "Copy details",
  },
  library: {
    label: "Library",
    search: "Search",
    searchHint: "words, or tag: kind: ★",
    none: "Nothing found.",
    empty: "Your takes will be here.",
    count: (/** @type {number} */ count) => plural(count, "take", "takes"),
    favorite: "Favorite",
    open: "Open",
    play: "Listen",
    remove: "Delete",
    restore: "Undo",
    removed: "Deleted. It can be restored for 30 days.",
  },
  noDevice: {
    message: "Nothing can be heard: the browser has no sound device, or does not let this page use it.",
    hint: "Plug one in, or allow sound for this page, and play again.",
  },
  close: "Close",
};

/**
 * A length of time to read: "2 s", "1 min 20 s".
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 10) return `${number.format(Math.max(0, seconds))} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  const rest = Math.floor(seconds % 60);
  return minutes < 60 ? `${minutes} min${rest ? ` ${rest} s` : ""}` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/**
 * What the server says as sentences, without the commands of a terminal.
 * @param {string} text
 */
export function sentence(text) {
  const bare = text.replace(/ \([^()]*(?:`|--)[^()]*\)/g, "").trim();
  return bare && bare.replace(/^(?!mini\b)[a-z](?=[a-z]* )/, (letter) => letter.toUpperCase()) + (/[.!?]$/.test(bare) ? "" : ".");
}

/**
 * An exact position: "00:01.250".
 * @param {number} samples
 * @param {number} rate
 */
export function clock(samples, rate) {
  const milliseconds = Math.floor((samples * 1000) / rate);
  const minutes = Math.floor(milliseconds / 60_000);
  const rest = ((milliseconds % 60_000) / 1000).toFixed(3).padStart(6, "0");
  return `${String(minutes).padStart(2, "0")}:${rest}`;
}

/**
 * A level with its sign: "−1.3 dB".
 * @param {number} value
 * @param {string} [unit]
 */
export function decibels(value, unit = "dB") {
  return `${value.toFixed(1).replace(/^-(?=0\.0$)/, "").replace("-", "−")} ${unit}`;
}

/** @param {number} count */
export function count(count) {
  return exact.format(count);
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1e6) return `${Math.round(bytes / 1e3)} KB`;
  return bytes < 1e9 ? `${Math.round(bytes / 1e6)} MB` : `${number.format(bytes / 1e9)} GB`;
}

/** @param {number} time seconds since 1970 */
export function ago(time) {
  const seconds = Date.now() / 1000 - time;
  const format = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
  if (seconds < 60) return format.format(0, "minute");
  if (seconds < 3600) return format.format(-Math.round(seconds / 60), "minute");
  if (seconds < 86_400) return format.format(-Math.round(seconds / 3600), "hour");
  return format.format(-Math.round(seconds / 86_400), "day");
}
