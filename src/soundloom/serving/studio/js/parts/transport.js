/** Play, loop, compare, and what the queue does. */

import { FLOOR, Meter } from "../audio/meter.js";
import { isCandidate, offsetsOf, sideOf, sidesOf } from "../listening.js";
import { barOf, gridOf } from "../state/tempo.js";
import { clock, decibels, t } from "../strings.js";
import { fill, h, icon, iconButton, later, popover } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../audio/player.js").Player} Player */
/** @typedef {import("../types.js").State} State */

const LOCAL = ["localhost", "127.0.0.1", "[::1]"];
const SIDES = /** @type {const} */ (["a", "b"]);

/**
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 */
export function transport(store, player, controls) {
  return h("footer", { class: "transport", "aria-label": t.transport.label },
    playing(store, player, controls), position(store, player), compare(store, player, controls),
    h("div", { class: "row" }, listeningMenu(store, controls), volume(store, controls), level(store, player)),
    h("span", { class: "grow" }), h("button", { type: "button", class: "plain small stays",
      onclick: later(async () => (await import("./privacy.js")).privacyDialog(store, controls)) }, t.stays(LOCAL.includes(location.hostname))), queue(store, controls));
}

/**
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 */
function playing(store, player, controls) {
  const play = iconButton("play", t.transport.play, () => controls.togglePlay());
  const loop = iconButton("loop", t.transport.loop, () => controls.toggleLoop());
  store.watch((state) => [state.listening.loop], (on) => loop.setAttribute("aria-pressed", String(on)));
  const show = () => {
    fill(play, icon(player.playing ? "pause" : "play"));
    play.title = player.playing ? t.transport.pause : t.transport.play;
    play.setAttribute("aria-label", play.title);
    play.disabled = !player.sound;
  };
  player.addEventListener("change", show);
  show();
  return h("div", { class: "row" }, iconButton("start", t.transport.toStart, () => player.seek(0)), play, loop);
}

/** What the sides are. @param {State} state */
function sideNames(state) {
  const { preview } = state.listening;
  if (!preview) return { a: t.compare.before, b: t.compare.current };
  return { a: t.compare.current, b: isCandidate(state, preview) ? t.compare.candidate : t.compare.preview };
}

/**
 * Hear the take before, or this one.
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 */
function compare(store, player, controls) {
  const buttons = SIDES.map((side) => h("button", { type: "button", onclick: () => controls.choose(side) }, side.toUpperCase()));
  const note = h("output", { class: "number soft offset" });
  const group = h("div", { class: "row compare", role: "group", "aria-label": t.compare.label },
    h("div", { class: "segments" }, buttons), note);
  store.watch((state) => [sidesOf(state).a, sidesOf(state).b, state.listening, state.blind, offsetsOf(state).a, offsetsOf(state).b],
    (a, b, listening, blind, offsetA, offsetB) => {
      group.hidden = !a || !b;
      const names = sideNames(store.state);
      const side = sideOf(store.state);
      buttons.forEach((button, index) => {
        const one = SIDES[index];
        button.setAttribute("aria-pressed", String(!blind && !listening.difference && one === side));
        button.disabled = blind !== null || !player.loaded[one];
        button.title = `${one.toUpperCase()}: ${names[one]}`;
        button.setAttribute("aria-label", button.title);
      });
      const offset = side === "a" ? offsetA : offsetB;
      note.textContent = blind ? "" : listening.difference ? t.compare.differenceShort : decibels(offset);
      note.title = listening.difference ? t.compare.differenceMore : offset < 0 ? t.compare.turnedDown(decibels(-offset)) : t.compare.notTurnedDown;
    });
  player.addEventListener("change", () =>
    buttons.forEach((button, index) => (button.disabled = store.state.blind !== null || !player.loaded[SIDES[index]])));
  return group;
}

/**
 * How takes play: speed, metronome, loudness, blind test.
 * @param {Store} store
 * @param {Controls} controls
 */
function listeningMenu(store, controls) {
  const { button, panel } = popover(t.listening.label, icon("ear"), async () => (await import("./listening.js")).listeningOptions(store, controls));
  const note = h("span", { class: "small soft" });
  store.watch((state) => [state.listening], ({ speed, metronome, before }) => {
    note.textContent = [speed !== 1 && t.listening.halfShort, metronome && t.listening.metronomeShort, before.length > 0 && t.compare.regionsShort]
      .filter(Boolean).join(" · ");
    note.hidden = note.textContent === "";
    button.classList.toggle("on", !note.hidden);
  });
  return [button, panel, note];
}

/**
 * The exact position, and its bar.
 * @param {Store} store
 * @param {Player} player
 */
function position(store, player) {
  const time = h("span", {});
  const bar = h("span", { class: "soft" });
  let asked = 0;
  const show = () => {
    const grid = gridOf(store.state, sidesOf(store.state).b);
    time.textContent = clock(player.position, player.rate);
    bar.textContent = grid ? t.transport.bar(barOf(grid, player.rate, player.position)) : "";
    cancelAnimationFrame(asked);
    if (player.playing) asked = requestAnimationFrame(show);
  };
  player.addEventListener("change", show);
  store.watch((state) => [gridOf(state, sidesOf(state).b)?.bpm], show);
  return h("div", { class: "number position", role: "group", "aria-label": t.transport.position }, time, bar);
}

/**
 * @param {Store} store
 * @param {Controls} controls
 */
function volume(store, controls) {
  const input = h("input", {
    type: "range", min: 0, max: 1, step: 0.01, "aria-label": t.transport.volume,
    oninput: () => controls.setListening({ volume: input.valueAsNumber ** 2 }), // the ear hears steps of the square as even
  });
  store.watch((state) => [state.listening.volume], (value) => {
    input.valueAsNumber = Math.sqrt(value);
    input.setAttribute("aria-valuetext", `${Math.round(100 * Math.sqrt(value))} %`);
  });
  return h("label", { class: "row volume", title: t.transport.volume }, icon("volume"), input);
}

/**
 * The level of what is played, with its highest true peak.
 * @param {Store} store
 * @param {Player} player
 */
function level(store, player) {
  const meter = new Meter(player);
  const bars = [0, 1].map(() => h("span", { class: "bar" }));
  const range = { "aria-valuemin": FLOOR, "aria-valuemax": 0 };
  const box = h("div", { class: "level", role: "meter", "aria-label": t.meter.label, ...range }, bars.map((bar) => h("span", {}, bar)));
  const light = h("button", { type: "button", class: "plain number peak", onclick: () => {
    meter.reset();
    show();
  } });
  let asked = 0;
  let told = 0;
  const show = (now = performance.now()) => {
    cancelAnimationFrame(asked);
    const rests = meter.read(now);
    bars.forEach((bar, channel) => (bar.style.clipPath = `inset(0 ${Math.min(100, 100 * (Math.min(0, meter.levels[channel]) / FLOOR))}% 0 0)`));
    const over = meter.peak > 0;
    light.hidden = meter.peak === -Infinity;
    const text = decibels(meter.peak);
    if (light.textContent !== (over ? `${text} ${t.meter.over}` : text)) {
      fill(light, over ? `${text} ${t.meter.over}` : text);
      light.classList.toggle("over", over);
      light.setAttribute("aria-label", t.meter.peak(text));
      light.title = t.meter.peak(text);
    }
    if (now - told > 500 || rests) {
      told = now;
      const highest = Math.max(...meter.levels);
      box.setAttribute("aria-valuenow", String(Math.round(Math.max(FLOOR, Math.min(0, highest)))));
      box.setAttribute("aria-valuetext", highest > -90 ? decibels(highest) : t.meter.silent);
    }
    if (player.playing || !rests) asked = requestAnimationFrame(show);
  };
  player.addEventListener("change", () => show());
  show();
  const group = h("div", { class: "row meter" }, box, light);
  store.watch((state) => [state.blind !== null], (blind) => (group.hidden = blind)); // the level would tell
  return group;
}

/**
 * @param {Store} store
 * @param {Controls} controls
 */
function queue(store, controls) {
  const text = h("span", { class: "number" });
  const cancel = h("button", { type: "button", class: "cancel" }, t.queue.cancel);
  store.watch((state) => [state.jobs, state.system], (jobs, system) => {
    const waiting = Object.values(jobs).filter((job) => ["queued", "running", "canceling"].includes(job.state));
    const running = waiting.find((job) => job.state === "running") ?? waiting[0];
    cancel.hidden = !running;
    cancel.onclick = () => void (running && controls.cancel(running.id));
    if (!running) {
      text.textContent = system?.paused ? t.queue.paused : t.queue.idle;
      return;
    }
    const done = running.items.filter((item) => !["queued", "running"].includes(item.state)).length;
    const percent = Math.round(100 * (running.progress?.fraction ?? 0));
    const left = running.progress?.seconds_left;
    fill(text, t.queue.running(Math.min(done + 1, running.items.length), running.items.length, percent),
      left !== undefined && ` · ${t.about(left)}`, waiting.length > 1 && ` · ${t.queue.more(waiting.length - 1)}`);
    document.title = `${percent} % · ${t.title}`;
  });
  store.watch((state) => [Object.values(state.jobs).some((job) => job.state === "running")], (busy) => {
    if (!busy) document.title = t.title;
  });
  const list = popover(t.queue.label, icon("queue"), async () => (await import("./queue.js")).queueList(store, controls));
  return h("div", { class: "row", role: "group", "aria-label": t.queue.label }, text, cancel, list.button, list.panel);
}
