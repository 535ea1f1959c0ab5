/** The regions as a table: each edge in seconds, bars or samples; and what is done to all of them. */

import { api, ApiError } from "../net/api.js";
import { openTake, place, usedModel } from "../state/actions.js";
import { promptNotes } from "../state/prompt.js";
import { passesOf } from "../state/request.js";
import { gridOf } from "../state/tempo.js";
import { words } from "../strings-editor.js";
import { t } from "../strings.js";
import { parsed, parsedRange, written } from "../view/grid.js";
import { letter, tidy } from "../view/regions.js";
import { h, iconButton, keyed } from "./element.js";

/**
 * @typedef {import("../net/events.js").Store} Store
 * @typedef {import("../editing.js").Editing} Editing
 * @typedef {import("../editing.js").Edge} Edge
 * @typedef {import("../types.js").Span} Span
 */

const UNITS = /** @type {const} */ (["seconds", "bars", "samples"]);

/**
 * @param {Store} store
 * @param {Editing} editing
 */
export function regionTable(store, editing) {
  const body = h("tbody", {});
  const table = h("table", { class: "regions" },
    h("caption", { class: "hidden-text" }, words.regions.label),
    h("thead", {}, h("tr", {}, [words.regions.region, words.regions.from, words.regions.to, words.regions.length].map((text) => h("th", { scope: "col" }, text)),
      h("td", {}))), body);
  const rows = (/** @type {Span[]} */ regions) => regions.flatMap((span, index) =>
    [{ span, index, own: false }, ...(span.words === undefined ? [] : [{ span, index, own: true }])]);
  store.watch((state) => [place(state).regions, state.view.unit, gridOf(state)?.bpm, gridOf(state)?.first, state.words], (regions, unit, _, __, asked) => {
    const passes = passesOf(store.state);
    table.hidden = regions.length === 0;
    const key = (/** @type {{index: number, own: boolean}} */ { index, own }) => `${index}${own ? " words" : ""}`;
    keyed(body, rows(regions), key, ({ index, own }) => (own ? wordsRow : row)(store, editing, index), (element, { span, own }) => {
      if (own) return showWords(element, span, asked.prompt);
      const pass = passes.findIndex((one) => one.regions.includes(span)) + 1;
      element.children[0].children[0].textContent = passes.length > 1 ? words.regions.pass(pass) : "";
      element.querySelector(".own")?.setAttribute("aria-pressed", String(span.words !== undefined));
      const texts = [span.start, span.end].map((sample) => write(store, sample, unit));
      const inputs = element.querySelectorAll("input");
      texts.forEach((text, at) => {
        if (document.activeElement !== inputs[at]) inputs[at].value = text;
      });
      element.children[3].textContent = lengthText(store, span, unit);
    });
  });
  return h("section", { class: "region-list column", "aria-label": words.regions.label }, bar(store, editing), table);
}

/**
 * @param {Store} store
 * @param {number} sample
 * @param {import("../view/grid.js").Unit} unit
 */
function write(store, sample, unit) {
  return written(sample, unit, openTake(store.state)?.audio.rate ?? 1, gridOf(store.state));
}

/**
 * @param {Store} store
 * @param {Span} span
 * @param {import("../view/grid.js").Unit} unit
 */
function lengthText(store, { start, end }, unit) {
  const grid = gridOf(store.state);
  const rate = openTake(store.state)?.audio.rate ?? 1;
  if (unit === "bars" && grid) return words.regions.beats(Number((((end - start) * grid.bpm) / (60 * rate)).toFixed(2)));
  return unit === "samples" ? String(end - start) : `${Number(((end - start) / rate).toFixed(3))} s`;
}

/**
 * @param {Store} store
 * @param {Editing} editing
 * @param {number} index
 */
function row(store, editing, index) {
  const name = letter(index);
  const field = (/** @type {Edge} */ edge) => {
    const input = h("input", {
      type: "text", inputMode: "decimal", class: "number", "data-edge": edge,
      "aria-label": edge === "start" ? words.regions.startOf(words.regions.name(name)) : words.regions.endOf(words.regions.name(name)),
      onchange: () => typed(store, editing, index, edge, input),
      onblur: () => show(),
      onkeydown: (/** @type {KeyboardEvent} */ event) => arrows(editing, index, edge, event, show),
    });
    const show = () => {
      const span = editing.regions()[index];
      if (span) input.value = write(store, span[edge], store.state.view.unit);
      input.setAttribute("aria-invalid", "false");
    };
    return h("td", {}, input);
  };
  return h("tr", { "data-region": index },
    h("th", { scope: "row" }, `${name} `, h("span", { class: "soft small" })), field("start"), field("end"), h("td", { class: "number soft length" }),
    h("td", { class: "row" }, iconButton("edit", words.regions.own(name), () => toggleWords(editing, index), { class: "square plain own" }),
      iconButton("play", words.regions.play(name), () => editing.playAround(index)),
      iconButton("trash", words.regions.remove(name), () => editing.remove(index))));
}

/**
 * Give a region a field for its own words, or take it away.
 * @param {Editing} editing
 * @param {number} index
 */
function toggleWords(editing, index) {
  const had = editing.regions()[index].words !== undefined;
  editing.ownWords(index, had ? null : "");
  if (!had) queueMicrotask(() => /** @type {HTMLElement | null} */ (document.querySelector(`[data-words="${index}"]`))?.focus());
}

/**
 * The words of a region that has its own, and what the model does not know of them.
 * @param {Store} store
 * @param {Editing} editing
 * @param {number} index
 */
function wordsRow(store, editing, index) {
  let merge = false; // what is typed in one go is one change
  const notes = h("p", { class: "warn small", role: "status" });
  const input = h("input", {
    type: "text", class: "words", "data-words": index, maxLength: 10_000, autocomplete: "off", "aria-label": words.regions.own(letter(index)),
    onfocus: () => (merge = false),
    oninput: () => {
      editing.ownWords(index, input.value, merge);
      merge = true;
    },
    onchange: async () => {
      const text = input.value.trim();
      const { model } = store.state;
      try {
        const found = text && model ? promptNotes(await api.read(text, model), text, usedModel(store.state), "remake") : [];
        if (text === input.value.trim()) notes.textContent = found.filter((note) => note.bad).map((note) => t.words.note(note, model)).join(" ");
      } catch (error) {
        if (!(error instanceof ApiError)) throw error; // the server says it again when the region is made
      }
    },
  });
  return h("tr", { "data-region": index }, h("td", {}), h("td", { colSpan: 3 }, input, notes));
}

/**
 * @param {HTMLElement} element
 * @param {Span} span
 * @param {string} prompt that of the others
 */
function showWords(element, span, prompt) {
  const input = /** @type {HTMLInputElement} */ (element.querySelector("input"));
  input.placeholder = words.regions.ownHint(prompt.trim());
  if (document.activeElement !== input) input.value = span.words ?? "";
}

/**
 * @param {Store} store
 * @param {Editing} editing
 * @param {number} index
 * @param {Edge} edge
 * @param {HTMLInputElement} input
 */
function typed(store, editing, index, edge, input) {
  const take = openTake(store.state);
  const span = editing.regions()[index];
  if (!take || !span) return;
  const { rate, samples } = take.audio;
  const both = parsedRange(input.value, store.state.view.unit, rate, gridOf(store.state), samples);
  const at = parsed(input.value, store.state.view.unit, rate, gridOf(store.state), samples);
  const next = both ?? (at === null ? null : { ...span, [edge]: at });
  const valid = next !== null && next.start >= 0 && next.end <= samples && next.start < next.end;
  input.setAttribute("aria-invalid", String(!valid));
  if (!valid) return editing.say(words.regions.invalid(write(store, samples, store.state.view.unit)));
  const before = editing.regions().length;
  editing.change(index, next);
  editing.noteMerge(before);
}

/**
 * @param {Editing} editing
 * @param {number} index
 * @param {Edge} edge
 * @param {KeyboardEvent} event
 * @param {() => void} show
 */
function arrows(editing, index, edge, event, show) {
  const direction = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  if (!direction) return;
  event.preventDefault();
  editing.moveEdge(index, edge, editing.next(editing.regions()[index][edge], direction, event.ctrlKey), event.shiftKey);
  show();
}

/**
 * @param {Store} store
 * @param {Editing} editing
 */
function bar(store, editing) {
  const unit = h("select", {
    "aria-label": words.regions.unit, onchange: () => store.send({ type: "view", view: { unit: UNITS[unit.selectedIndex] } }),
  }, UNITS.map((name) => h("option", { value: name }, words.regions.units[name])));
  const range = h("input", {
    type: "text", class: "number range", placeholder: words.regions.typeHint, "aria-label": words.regions.type,
    oninput: () => range.setAttribute("aria-invalid", "false"),
  });
  const form = h("form", {
    class: "row",
    onsubmit: (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      addTyped(store, editing, range);
    },
  }, range, h("button", { class: "", type: "submit" }, words.regions.add));
  const invert = h("button", { type: "button", title: words.regions.invertMore, onclick: editing.invert }, words.regions.invert);
  const clear = h("button", { type: "button", onclick: editing.clear }, words.regions.clear);
  store.watch((state) => [place(state).regions.length, state.view.unit, gridOf(state) !== null], (count, used, hasGrid) => {
    invert.hidden = clear.hidden = count === 0;
    unit.selectedIndex = UNITS.indexOf(used);
    unit.options[1].disabled = !hasGrid;
  });
  return h("div", { class: "row" }, h("h2", {}, words.regions.label), form, unit, invert, clear);
}

/**
 * @param {Store} store
 * @param {Editing} editing
 * @param {HTMLInputElement} input
 */
function addTyped(store, editing, input) {
  const take = openTake(store.state);
  if (!take) return;
  if (!input.value.trim()) return editing.add();
  const { rate, samples } = take.audio;
  const span = parsedRange(input.value, store.state.view.unit, rate, gridOf(store.state), samples);
  const valid = span !== null && span.end <= samples;
  input.setAttribute("aria-invalid", String(!valid));
  if (!valid) return editing.say(words.regions.invalid(write(store, samples, store.state.view.unit)));
  const before = editing.regions().length;
  editing.setRegions(tidy([...editing.regions(), span], samples));
  editing.noteMerge(before + 1);
  input.value = "";
}
