/** Play, loop, compare, and what the queue does. */

import { clock, t } from "../strings.js";
import { fill, h, icon, iconButton } from "./element.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../audio/player.js").Player} Player */
/** @typedef {import("../types.js").State} State */

/**
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 */
export function transport(store, player, controls) {
  const play = iconButton("play", t.transport.play, () => (player.playing ? player.pause() : player.play()));
  const loop = iconButton("loop", t.transport.loop, () => player.repeat(player.loop ? null : { start: 0, end: player.samples }));
  const time = h("output", { class: "number", "aria-label": t.transport.position });
  const show = () => {
    fill(play, icon(player.playing ? "pause" : "play"));
    play.setAttribute("aria-label", player.playing ? t.transport.pause : t.transport.play);
    play.disabled = !player.sound;
    loop.setAttribute("aria-pressed", String(player.loop !== null));
    time.textContent = clock(player.position, player.rate);
    if (player.playing) requestAnimationFrame(show);
  };
  player.addEventListener("change", show);
  show();
  return h("footer", { class: "transport", "aria-label": t.transport.label },
    iconButton("start", t.transport.toStart, () => player.seek(0)), play, loop, time, sides(store, player),
    h("span", { class: "grow" }), queue(store, controls));
}

/**
 * @param {Store} store
 * @param {Player} player
 */
function sides(store, player) {
  const buttons = /** @type {const} */ (["a", "b"]).map((side) =>
    h("button", { type: "button", "aria-label": t.transport[side], title: t.transport[side], onclick: () => player.choose(side) }, side.toUpperCase()));
  const show = () => buttons.forEach((button, index) => {
    button.setAttribute("aria-pressed", String(player.side === (index ? "b" : "a")));
    button.disabled = !player.loaded[index ? "b" : "a"];
  });
  player.addEventListener("change", show);
  store.watch((state) => [state.compare], show);
  return h("div", { class: "segments" }, buttons);
}

/**
 * @param {Store} store
 * @param {Controls} controls
 */
function queue(store, controls) {
  const text = h("span", { class: "number" });
  const cancel = h("button", { type: "button" }, t.queue.cancel);
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
  return h("div", { class: "row", role: "group", "aria-label": t.queue.label }, text, cancel);
}
