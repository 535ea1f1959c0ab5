/** What keys do, wherever the focus is, and the sheet that lists them. */

import { candidateTakes, openTake } from "../state/actions.js";
import { meant } from "../state/key-map.js";
import { later } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../audio/player.js").Player} Player */
/** @typedef {import("../types.js").Command} Command */

const HOLD_MS = 300; // X held longer than this goes back when it is let go
const TWICE_MS = 600;
const TYPING = "input:not([type=range], [type=checkbox], [type=radio]), textarea, select, [contenteditable]";
const PRESSED = "button, a, summary, input, [role=button], [role=slider]"; // Space and Enter are theirs
const EDITOR = ".editor, .candidates, .transport"; // where single keys work, and where nothing has the focus
const SCREENS = /** @type {const} */ (["studio", "library", "batch", "models"]);

/** @type {Record<string, Command>} */
const COMMANDS = {
  "+": "zoomIn", "-": "zoomOut", 0: "zoomAll", g: "view", s: "snap", "[": "regionStart", "]": "regionEnd",
  Delete: "regionDelete",
};
/** @type {Record<string, import("../types.js").Mode>} */
const MODES = { e: "extend", v: "vary", i: "remake" };

/**
 * Listen to all keys. Returns what shows the sheet of them.
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 */
export function keys(store, player, controls) {
  const sheet = later(async () => (await import("./key-sheet.js")).keySheet(store));
  let pressed = 0; // when X was pressed
  let escaped = 0;

  /** @type {Record<string, (event: KeyboardEvent) => unknown>} */
  const single = {
    " ": (event) => controls.togglePlay(event.shiftKey),
    l: () => controls.toggleLoop(),
    x: (event) => {
      if (!event.repeat && controls.switchSide()) pressed = event.timeStamp;
    },
    t: () => controls.tap(),
    f: () => {
      const take = openTake(store.state);
      if (take) void controls.changeTake(take.id, { favorite: !take.favorite });
    },
    r: (event) => event.shiftKey && void controls.again(),
    ArrowLeft: (event) => step(-1, event),
    ArrowRight: (event) => step(1, event),
    ArrowUp: () => candidate(-1),
    ArrowDown: () => candidate(1),
    Enter: () => store.state.listening.preview && controls.keep(),
    Home: (event) => controls.editing?.go(0, event.shiftKey),
    End: (event) => controls.editing?.go(controls.editing.samples(), event.shiftKey),
  };
  for (const [key, mode] of Object.entries(MODES)) single[key] = () => store.send({ type: "words", words: { mode } });
  for (const [key, command] of Object.entries(COMMANDS)) single[key] = () => controls.commands.get(command)?.();

  /** @param {-1 | 1} direction @param {KeyboardEvent} event */
  function step(direction, event) {
    controls.editing?.go(controls.editing.next(player.position, direction, event.ctrlKey || event.metaKey), event.shiftKey);
  }

  /** @param {number} direction */
  function candidate(direction) {
    const takes = candidateTakes(store.state);
    const { preview } = store.state.listening;
    const at = takes.findIndex((one) => one.take === preview);
    const next = takes[Math.max(0, Math.min(takes.length - 1, at + direction))];
    if (!next) return;
    store.send({ type: "focus", focus: next.number });
    void controls.listen(next.take);
  }

  /** Close what is open; twice: cancel the job. @param {KeyboardEvent} event */
  function escape(event) {
    const job = Object.values(store.state.jobs).find((one) => one.state === "running") ?? null;
    if (event.timeStamp - escaped < TWICE_MS && job) void controls.cancel(job.id);
    escaped = event.timeStamp;
    controls.setListening({ preview: null });
  }

  /** Keys that work on the whole page, as long as nobody types. @param {string} key */
  function anywhere(key) {
    if (key === "?") void sheet();
    else if (key === "/") {
      store.send({ type: "screen", value: "library" });
      search();
    } else if (/^[1-4]$/.test(key)) store.send({ type: "screen", value: SCREENS[Number(key) - 1] });
    else return false;
    return true;
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    // Until the next frame, a field that was hidden, as by a dialog that closed, keeps the focus.
    const target = event.target instanceof Element && event.target.checkVisibility() ? event.target : document.body;
    if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && document.querySelector(":popover-open")) return; // the browser closes it
    const control = event.ctrlKey || event.metaKey;
    const key = meant(store.state.settings.keyMap, event.key);
    if (control && event.key === "Enter") {
      event.preventDefault();
      void controls.submit();
      return;
    }
    if (target.matches(TYPING)) return;
    if (event.key === "Escape") escape(event);
    else if (control && /^[zy]$/i.test(event.key)) store.send({ type: event.shiftKey || event.key.toLowerCase() === "y" ? "redo" : "undo" });
    else if (!store.state.settings.keys || event.altKey || (control && !event.key.startsWith("Arrow"))) return;
    else if (!control && anywhere(key)) {
      // done
    } else if (!inEditor(store, target) || (target.matches(PRESSED) && /^( |Enter|Arrow.*|Home|End|Delete)$/.test(event.key))) return;
    else {
      const act = single[key];
      if (!act) return;
      act(event);
    }
    event.preventDefault();
  }

  addEventListener("keydown", onKey);
  addEventListener("keyup", (event) => {
    if (!pressed || meant(store.state.settings.keyMap, event.key) !== "x") return;
    if (event.timeStamp - pressed > HOLD_MS) controls.switchSide();
    pressed = 0;
  });
  return sheet;
}

/**
 * @param {Store} store
 * @param {Element} target
 */
function inEditor(store, target) {
  return store.state.screen === "studio" && (target === document.body || target.id === "main" || target.closest(EDITOR) !== null);
}

/** Put the keyboard into the search of the library, which may still be loading. */
function search(frames = 120) {
  const field = /** @type {HTMLElement | null} */ (document.querySelector(".library input[type=search]"));
  if (field?.checkVisibility()) field.focus();
  else if (frames > 0) requestAnimationFrame(() => search(frames - 1));
}
