/** Words of what is around a take in the editor. */

import { plural } from "./strings.js";

export const words = {
  editor: {
    view: "View",
    layers: { wave: "Waveform", spectrogram: "Spectrogram", both: "Both" },
    zoom: "Zoom",
    zoomIn: "Zoom in",
    zoomOut: "Zoom out",
    showAll: "Show all of it",
    wave: (/** @type {string} */ name) => `Waveform of ${name}`,
    playhead: "Playhead",
    firstBeat: "First beat",
    position: (/** @type {number} */ seconds, /** @type {number} */ bar, /** @type {number} */ beat) =>
      `${seconds} seconds${bar ? `, bar ${bar} beat ${beat}` : ""}`,
    before: (/** @type {string} */ by) => `Add ${by} before`,
    after: (/** @type {string} */ by) => `Add ${by} after`,
    ghost: (/** @type {string} */ by) => `new: ${by}`,
  },
  snap: {
    label: "Snap",
    off: "Off",
    beat: "Beat",
    bar: "Bar",
    zero: "Zero crossing",
    onset: "Onset",
    noGrid: (/** @type {string} */ name) => `${name} (no tempo)`,
    now: (/** @type {string} */ name) => `Snap: ${name}`,
  },
  regions: {
    label: "Regions",
    region: "Region",
    from: "From",
    to: "To",
    length: "Length",
    name: (/** @type {string} */ letter) => `region ${letter}`,
    brace: "loop",
    startOf: (/** @type {string} */ name) => `Start of ${name}`,
    endOf: (/** @type {string} */ name) => `End of ${name}`,
    beats: (/** @type {number} */ count) => plural(count, "beat", "beats"),
    unit: "Unit of positions",
    units: { seconds: "seconds", bars: "bars", samples: "samples" },
    type: "A range, such as 1.0–1.5; empty: the selection, or what follows the playhead",
    typeHint: "1.0–1.5",
    add: "Add region",
    invert: "Invert",
    invertMore: "Keep only the regions, and remake the rest",
    clear: "Clear",
    play: (/** @type {string} */ letter) => `Play region ${letter}`,
    remove: (/** @type {string} */ letter) => `Remove region ${letter}`,
    removed: (/** @type {string} */ letter) => `Region ${letter} removed. Ctrl+Z brings it back.`,
    merged: (/** @type {boolean} */ first) =>
      `The regions touched, so they are one now.${first ? " Regions with the same words are made in one go." : ""}`,
    own: (/** @type {string} */ letter) => `Own words for region ${letter}`,
    ownHint: (/** @type {string} */ prompt) => (prompt ? `as the others: ${prompt}` : "what should be here"),
    pass: (/** @type {number} */ number) => `pass ${number}`,
    hint: "The model listens to what is around a region more than to the words. A larger region first, then smaller ones in it, often works.",
    noStart: (/** @type {string} */ key) => `Press ${key} first, where the region begins.`,
    invalid: (/** @type {string} */ end) => `Positions lie between 0 and ${end}, the start before the end.`,
  },
  passes: {
    made: (/** @type {number} */ pass, /** @type {number} */ of) =>
      `Pass ${pass} of ${of} is being made${pass < of ? `; ${plural(of - pass, "pass follows", "passes follow")}` : ", the last one"}.`,
    stopped: (/** @type {number} */ pass, /** @type {number} */ of) =>
      `Pass ${pass} of ${of} was not finished, so ${plural(of - pass, "pass was", "passes were")} not made.`,
    refused: (/** @type {number} */ pass, /** @type {number} */ of) => `Pass ${pass} of ${of} could not be queued.`,
    gone: (/** @type {number} */ pass, /** @type {number} */ of) =>
      `The result of pass ${pass} of ${of} is gone, so ${plural(of - pass, "pass was", "passes were")} not made.`,
    again: "Try again",
    leave: "Leave it",
  },
  kept: {
    same: (/** @type {string} */ kept, /** @type {string} */ of) => `Kept samples are identical (${kept} of ${of})`,
    changed: (/** @type {string} */ other, /** @type {string} */ of) => `${other} of ${of} kept samples differ`,
    nothing: (/** @type {string} */ reason) => `Nothing to compare: ${reason}`,
    fresh: "made again",
    before: "as before",
    jump: (/** @type {number} */ at, /** @type {number} */ decibels) =>
      `The level changes by ${decibels > 0 ? "+" : "−"}${Math.abs(decibels)} dB at ${at} s`,
  },
};
