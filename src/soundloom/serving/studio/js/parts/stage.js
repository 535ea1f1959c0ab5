/** The picture of a take: sound, ruler and marks on canvases, and above them controls for all that can be moved. */

import { viewOf } from "../editing.js";
import { leadOf, sidesOf } from "../listening.js";
import { openTake, place } from "../state/actions.js";
import { extension, previewedEdit, previewOffset } from "../state/shown.js";
import { gridOf } from "../state/tempo.js";
import { words } from "../strings-editor.js";
import { duration } from "../strings.js";
import { barAndBeat, toX } from "../view/grid.js";
import { letter } from "../view/regions.js";
import { drawGhost, drawRegion, drawRuler, hatch, ROW, shown } from "../view/ruler.js";
import { Spectrogram } from "../view/spectrogram.js";
import { peaksOf } from "../view/thumbnail.js";
import { drawWave } from "../view/wave.js";
import { soundOf } from "../audio/wav.js";
import { h, iconButton, keyed } from "./element.js";
import { palette } from "./palette.js";

/**
 * @typedef {import("../net/events.js").Store} Store
 * @typedef {import("../audio/player.js").Player} Player
 * @typedef {import("../editing.js").Editing} Editing
 * @typedef {import("../types.js").Span} Span
 */

const BRACE = 12; // pixels of the strip for the loop
const STRIP = 7; // pixels of the strip that marks what the last edit made

export class Stage {
  /**
   * @param {Store} store
   * @param {Player} player
   * @param {Editing} editing
   * @param {import("../controls.js").Controls} controls
   */
  constructor(store, player, editing, controls) {
    this.store = store;
    this.player = player;
    this.editing = editing;
    this.compare = controls.compareWithParent;
    this.base = h("canvas", { "aria-hidden": "true" });
    this.marks = h("canvas", { "aria-hidden": "true" });
    this.head = h("div", { class: "playhead", role: "slider", tabIndex: 0, "aria-label": words.editor.playhead, "aria-orientation": "horizontal" });
    this.edges = h("div", { class: "edges" });
    this.beat = h("div", {
      class: "edge beat", role: "slider", tabIndex: 0, "aria-label": words.editor.firstBeat, title: words.editor.firstBeat, "aria-orientation": "horizontal", "data-beat": "",
    });
    this.more = /** @type {const} */ (["before", "after"]).map((side) => iconButton("add", "", () => editing.extend(side, editing.extensionStep()), { class: "square more" }));
    this.element = h("div", { class: "stage", role: "group" }, this.base, this.marks, this.beat, this.edges, this.more, this.head);
    /** @type {import("../view/peaks.js").Peaks | null} */
    this.peaks = null;
    /** @type {import("../audio/wav.js").Sound | null} */
    this.sound = null;
    this.colors = palette(document.body);
    this.spectrogram = new Spectrogram(() => this.redraw());
    this._queued = false;
    this._watch();
  }

  _watch() {
    const { store, player } = this;
    new ResizeObserver(() => this._resize()).observe(this.element);
    const recolor = () => requestAnimationFrame(() => {
      this.colors = palette(document.body);
      this.redraw();
    });
    for (const query of ["(prefers-color-scheme: dark)", "(prefers-contrast: more)", "(forced-colors: active)"]) matchMedia(query).addEventListener("change", recolor);
    store.watch((state) => [state.settings.theme], recolor);
    store.watch((state) => [openTake(state)?.audio.samples], () => store.send({ type: "view", view: { zoom: null } }));
    store.watch((state) => [shownTake(state)?.id], (id) => this._open(id));
    store.watch((state) => [state.listening.preview], (preview) => preview && store.state.takes[preview]?.parent === place(store.state).take && this.compare(preview));
    store.watch((state) => [state.view, place(state), state.words, state.comparisons, state.listening, gridOf(state)?.bpm, gridOf(state)?.first], () => this.redraw());
    player.addEventListener("change", () => this._follow());
  }

  /** @param {string} [id] */
  _open(id) {
    this.sound = this.peaks = null;
    this.redraw();
    if (!id) return;
    const still = () => shownTake(this.store.state)?.id === id;
    const ignore = () => {}; // the controls say what is wrong
    peaksOf(id).then((peaks) => {
      if (still()) this.peaks = peaks;
      this.draw();
      performance.mark("waveform");
    }, ignore);
    soundOf(id).then((sound) => {
      if (still()) this.sound = sound;
      this.redraw();
    }, ignore);
  }

  _resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (width === 0) return;
    for (const canvas of [this.base, this.marks]) {
      canvas.width = Math.round(width * devicePixelRatio);
      canvas.height = Math.round(height * devicePixelRatio);
    }
    this.store.send({ type: "view", view: { width } });
    this.draw(); // at once: a canvas that was resized is empty
  }

  /** Draw before the next frame. */
  redraw() {
    if (this._queued) return;
    this._queued = true;
    requestAnimationFrame(() => {
      this._queued = false;
      this.draw();
    });
  }

  /** Where things are, in pixels. */
  layout() {
    const height = this.element.clientHeight;
    const ruler = gridOf(this.store.state) ? 2 * ROW : ROW;
    const top = ruler + BRACE;
    const lanes = { y: top, height: Math.max(0, height - top) };
    const { layers } = this.store.state.view;
    const wave = layers === "both" ? { y: top, height: lanes.height / 2 } : lanes;
    const spectrogram = layers === "both" ? { y: top + lanes.height / 2, height: lanes.height / 2 } : lanes;
    return { ruler, lanes, wave: layers === "spectrogram" ? null : wave, spectrogram: layers === "wave" ? null : spectrogram };
  }

  draw() {
    const { state } = this.store;
    const take = openTake(state);
    if (!take || this.element.clientWidth === 0) return;
    performance.mark("draw-start");
    const view = viewOf(state);
    this._drawBase(view, take, this.layout());
    this._drawMarks(view, take, this.layout());
    this._place(view, take);
    performance.measure("draw", "draw-start");
    performance.clearMarks("draw-start");
  }

  /** @param {HTMLCanvasElement} canvas */
  _clear(canvas) {
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    return context;
  }

  /**
   * @param {import("../view/grid.js").View} view
   * @param {import("../types.js").Take} take
   * @param {ReturnType<Stage["layout"]>} layout
   */
  _drawBase(view, take, { ruler, lanes, wave, spectrogram }) {
    const { state } = this.store;
    const { colors } = this;
    const { rate, samples } = take.audio;
    const context = this._clear(this.base);
    const { before, after } = extension(state);
    const preview = shownTake(state) ?? take;
    const shifted = { ...view, start: view.start + (isA(state) ? previewOffset(state) - leadOf(state) : previewOffset(state)) };
    context.fillStyle = colors.raised;
    context.fillRect(0, 0, view.width, ruler + BRACE);
    if (spectrogram) this.spectrogram.draw(context, shifted, { take: preview.id, samples: preview.audio.samples, rate, lane: spectrogram, colors });
    drawRuler(context, view, { grid: gridOf(state), rate, low: -before * rate, high: samples + after * rate, lanes, colors });
    if (wave) {
      const stretches = this._stretches(preview, preview.audio.samples);
      drawWave(context, shifted, { peaks: this.peaks, sound: this.sound, lane: wave, stretches, density: devicePixelRatio });
    }
    for (const [start, end] of this._fresh(preview)) {
      const found = shown(shifted, { start, end });
      if (!found) continue;
      const strip = { y: lanes.y + lanes.height - STRIP, height: STRIP };
      context.fillStyle = colors.fresh;
      context.fillRect(found[0], strip.y, found[1] - found[0], 1);
      hatch(context, ...found, strip, colors.fresh, -view.start / view.perPixel, 0.9);
    }
  }

  /** What the last edit made again, if it kept anything. @param {import("../types.js").Take} take */
  _fresh(take) {
    const found = this.store.state.comparisons[take.id];
    return found && found.outside > 0 ? found.new : [];
  }

  /**
   * The wave in pieces: kept, and made again.
   * @param {import("../types.js").Take} take
   * @param {number} samples
   */
  _stretches(take, samples) {
    const found = [];
    let at = 0;
    for (const [start, end] of this._fresh(take)) {
      found.push({ from: at, to: start, color: this.colors.wave }, { from: start, to: end, color: this.colors.fresh });
      at = end;
    }
    return [...found, { from: at, to: samples, color: this.colors.wave }];
  }

  /**
   * @param {import("../view/grid.js").View} view
   * @param {import("../types.js").Take} take
   * @param {ReturnType<Stage["layout"]>} layout
   */
  _drawMarks(view, take, { lanes, ruler }) {
    const { state } = this.store;
    const { colors } = this;
    const { rate, samples } = take.audio;
    const { regions, selection } = place(state);
    const context = this._clear(this.marks);
    const fill = (/** @type {Span} */ span, /** @type {string} */ color, /** @type {number} */ y, /** @type {number} */ height) => {
      const found = shown(view, span);
      context.fillStyle = color;
      if (found) context.fillRect(found[0], y, Math.max(1, found[1] - found[0]), height);
    };
    if (selection && selection.start < selection.end) fill(selection, colors.selection, lanes.y, lanes.height);
    else if (selection) {
      context.setLineDash([4, 3]);
      context.strokeStyle = colors.edge;
      context.strokeRect(Math.round(toX(view, selection.start)) + 0.5, lanes.y, 0, lanes.height);
      context.setLineDash([]);
    }
    const crossfade = Math.round(state.words.crossfade * rate);
    const isHeard = previewedEdit(state) !== null;
    const used = !isHeard && !["extend", "make", "edit"].includes(state.words.mode);
    for (const region of regions) drawRegion(context, view, region, { lanes, samples, crossfade, used, colors });
    const { before, after } = isHeard ? { before: 0, after: 0 } : extension(state);
    if (before > 0) drawGhost(context, view, { start: -before * rate, end: 0 }, lanes, words.editor.ghost(duration(before)), colors);
    if (after > 0) drawGhost(context, view, { start: samples, end: samples + after * rate }, lanes, words.editor.ghost(duration(after)), colors);
    const { brace } = state.listening;
    if (brace) {
      fill(brace, colors.accent, ruler + 2, BRACE - 4);
      fill(brace, colors.selection, 0, ruler);
    }
  }

  /**
   * Put the controls where their positions are.
   * @param {import("../view/grid.js").View} view
   * @param {import("../types.js").Take} take
   */
  _place(view, take) {
    const { state } = this.store;
    const { ruler, lanes } = this.layout();
    const { samples, rate } = take.audio;
    const { before, after } = extension(state);
    this.element.style.setProperty("--lanes", `${lanes.y}px`);
    this.element.style.setProperty("--brace", `${ruler}px`);
    const first = gridOf(state)?.first;
    this.beat.hidden = first === undefined;
    if (first !== undefined) {
      this._show(this.beat, toX(view, first), view.width);
      this._value(this.beat, first);
    }
    const brace = state.listening.brace;
    const edges = [...place(state).regions.map((span, index) => ({ name: String(index), span })), ...(brace ? [{ name: "brace", span: brace }] : [])]
      .flatMap(({ name, span }) => /** @type {const} */ (["start", "end"]).map((edge) => ({ name, edge, span })));
    keyed(this.edges, edges, ({ name, edge }) => `${name} ${edge}`, ({ name, edge }) => this._edge(name, edge), (element, { name, edge, span }) => {
      this._show(element, toX(view, span[edge]), view.width);
      this._value(element, span[edge]);
      const which = name === "brace" ? words.regions.brace : words.regions.name(letter(Number(name)));
      element.setAttribute("aria-label", edge === "start" ? words.regions.startOf(which) : words.regions.endOf(which));
      if (name !== "brace" && edge === "start") /** @type {HTMLElement} */ (element.firstElementChild).textContent = letter(Number(name));
    });
    this._show(this.more[0], toX(view, -before * rate) - MORE, view.width);
    this._show(this.more[1], toX(view, samples + after * rate) + MORE, view.width);
    const by = state.view && duration(this.editing.extensionStep() / rate);
    const labels = [words.editor.before(by), words.editor.after(by)];
    this.more.forEach((button, index) => {
      button.title = labels[index];
      button.setAttribute("aria-label", labels[index]);
    });
    this.element.setAttribute("aria-label", words.editor.wave(take.title || take.prompt));
    this._showHead();
  }

  /** @param {string} name @param {"start" | "end"} edge */
  _edge(name, edge) {
    const isBrace = name === "brace";
    return h("div", {
      class: `edge ${edge}${isBrace ? " brace" : ""}`, role: "slider", tabIndex: 0, "aria-orientation": "horizontal", "data-edge": edge,
      [isBrace ? "data-brace" : "data-region"]: isBrace ? "" : name,
    }, !isBrace && edge === "start" && h("span", { class: "letter" }));
  }

  /**
   * @param {HTMLElement} element
   * @param {number} x
   * @param {number} width
   */
  _show(element, x, width) {
    const inside = x >= -12 && x <= width + 12;
    element.classList.toggle("away", !inside); // it stays a control: the keyboard brings it into view
    element.style.transform = `translateX(${Math.max(-1, Math.min(x, width + 1))}px)`;
  }

  /**
   * @param {HTMLElement} element
   * @param {number} sample
   */
  _value(element, sample) {
    const { editing } = this;
    element.setAttribute("aria-valuemin", "0");
    element.setAttribute("aria-valuemax", String(editing.samples()));
    element.setAttribute("aria-valuenow", String(sample));
    element.setAttribute("aria-valuetext", spoken(sample, editing.rate(), gridOf(this.store.state)));
  }

  /** Keep up with the player. */
  _follow() {
    if (this.player.playing) this.editing.reveal(this.editing.position());
    this._showHead();
    if (this.player.playing && !this._following) {
      this._following = true;
      requestAnimationFrame(() => {
        this._following = false;
        this._follow();
      });
    }
  }

  _showHead() {
    const view = viewOf(this.store.state);
    const sample = this.editing.position();
    this._show(this.head, toX(view, sample), view.width);
    if (!this.player.playing || document.activeElement !== this.head) this._value(this.head, Math.max(0, Math.min(sample, this.editing.samples())));
  }
}

/** Whether A plays and is shown; in a blind test nothing is given away. @param {import("../types.js").State} state */
const isA = (state) => !state.blind && state.listening.side === "a" && (sidesOf(state).a ?? "") in state.takes;
/** What the picture is of. @param {import("../types.js").State} state */
const shownTake = (state) => (isA(state) ? state.takes[sidesOf(state).a ?? ""] : (previewedEdit(state) ?? openTake(state)));
const MORE = 15; // pixels from an end of the take to the middle of its ⊕

/**
 * "1.25 seconds, bar 1 beat 3"
 * @param {number} sample
 * @param {number} rate
 * @param {import("../types.js").Grid | null} grid
 */
function spoken(sample, rate, grid) {
  const { bar, beat } = grid ? barAndBeat(sample, rate, grid) : { bar: 0, beat: 0 };
  return words.editor.position(Number((sample / rate).toFixed(3)), bar, beat);
}
