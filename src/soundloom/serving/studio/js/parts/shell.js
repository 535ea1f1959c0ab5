/** The frame of the page: header, notices, the screen, transport. */

import { t } from "../strings.js";
import { asDrawer, drawerButton, showNewTakes } from "./drawers.js";
import { drop } from "./drop.js";
import { editor } from "./editor.js";
import { fill, h, icon, iconButton, later, popover } from "./element.js";
import { history } from "./history.js";
import { keys } from "./keys.js";
import { transport } from "./transport.js";
import { words } from "./words.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../audio/player.js").Player} Player */

/** @type {import("../types.js").State["screen"][]} */
const SCREENS = ["studio", "library", "batch", "models"];
const THEMES = /** @type {const} */ (["auto", "light", "dark"]);
const LONG_SECONDS = 5; // quarters of shorter jobs would only be noise

/**
 * @param {Store} store
 * @param {Player} player
 * @param {Controls} controls
 * @returns {HTMLElement[]}
 */
export function shell(store, player, controls) {
  const main = h("main", { id: "main", tabIndex: -1 });
  const studio = h(
    "div",
    { class: "screen studio" },
    asDrawer(store, "words", words(store, controls)),
    h("div", { class: "middle" }, editor(store, player, controls), showNewTakes(store, newTakes(store, controls))),
    asDrawer(store, "history", history(store, controls)),
  );
  showScreens(store, controls, main, studio);
  store.watch((state) => [state.settings.historyFolded], (folded) => studio.classList.toggle("folded", folded));
  followAddress(store);
  const sheet = keys(store, player, controls);
  return [h("a", { class: "skip button", href: "#main" }, t.skip), header(store, controls, sheet), notice(store, controls), main,
    transport(store, player, controls), announcer(store), drop(store, controls)];
}

/**
 * The new takes; what shows them is loaded with the first.
 * @param {Store} store
 * @param {Controls} controls
 */
function newTakes(store, controls) {
  const panel = h("section", { class: "panel candidates", "aria-label": t.candidates.label },
    h("h2", {}, t.candidates.label), h("p", { class: "soft" }, t.candidates.none));
  const end = store.watch((state) => [state.candidates !== null || state.passes.length > 0], async (some) => {
    if (!some) return;
    queueMicrotask(() => end());
    fill(panel, (await import("./candidates.js")).candidates(store, controls, panel));
  });
  return panel;
}

/**
 * Show one screen. Those but the studio are loaded when they are first shown, so that the page opens sooner.
 * @param {Store} store
 * @param {Controls} controls
 * @param {HTMLElement} main
 * @param {HTMLElement} studio
 */
function showScreens(store, controls, main, studio) {
  /** @type {Record<string, () => Promise<HTMLElement>>} */
  const load = {
    library: async () => (await import("./library.js")).library(store, controls),
    batch: async () => (await import("./batch.js")).batch(store, controls),
    models: async () => (await import("./models.js")).models(store, controls),
  };
  /** @type {Record<string, HTMLElement | undefined>} */
  const screens = { studio };
  main.append(studio);
  const show = () => {
    const shown = screens[store.state.screen] ?? studio;
    for (const one of main.children) /** @type {HTMLElement} */ (one).hidden = one !== shown;
  };
  store.watch((state) => [state.screen], async (screen) => {
    if (!screens[screen] && load[screen]) {
      const found = await controls.attempt(load[screen]);
      if (found && !screens[screen]) main.append((screens[screen] = found));
    }
    show();
  });
}

/**
 * @param {Store} store
 * @param {Controls} controls
 * @param {() => Promise<void>} sheet shows the keys
 */
function header(store, controls, sheet) {
  const links = SCREENS.map((screen) => h("a", { href: `#${screen}` }, t.nav[screen]));
  store.watch(
    (state) => [state.screen],
    (screen) => links.forEach((link, index) => {
      if (SCREENS[index] === screen) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }),
  );
  const theme = iconButton("moon", t.theme, () => {
    const at = THEMES.indexOf(store.state.settings.theme);
    store.send({ type: "settings", settings: { theme: THEMES[(at + 1) % THEMES.length] } });
  });
  return asDrawer(store, "menu", h("header", { class: "top" },
    h("span", { class: "brand" }, t.title), h("nav", { "aria-label": t.nav.label }, links),
    h("span", { class: "grow" }), modelChooser(store), theme, iconButton("help", t.help, () => void sheet()),
    iconButton("settings", t.settings, later(async () => (await import("./settings.js")).settingsDialog(store, controls))),
    drawerButton(store, "history"), drawerButton(store, "menu")));
}

/** @param {Store} store */
function modelChooser(store) {
  const select = h("select", {
    "aria-label": t.model,
    onchange: () => store.send({ type: "model", name: select.value }),
  });
  const more = h("p", {});
  const about = popover(t.demonstration, t.demonstration, async () =>
    [more, h("a", { href: "#models", onclick: () => about.panel.hidePopover() }, t.getOne)]);
  about.button.className = "plain small demonstration";
  store.watch(
    (state) => [state.models, state.model],
    (models, model) => {
      const usable = models.filter((one) => one.installed || one.id === model);
      fill(select, usable.map((one) => h("option", { value: one.id, selected: one.id === model }, one.id)));
      const seconds = models.find((one) => one.id === "mini")?.max_seconds ?? 0;
      about.button.hidden = model !== "mini";
      more.textContent = t.demonstrationMore(seconds);
    },
  );
  return h("div", { class: "row model" }, select, about.button, about.panel);
}

/**
 * What stands in the way of everything: no connection, no token, a refusal.
 * @param {Store} store
 * @param {Controls} controls
 */
function notice(store, controls) {
  const box = h("div", { class: "notice", role: "status", hidden: true });
  store.watch(
    (state) => [state.connection, state.problem],
    (connection, problem) => {
      box.hidden = !(connection === "lost" || connection === "login" || problem);
      if (connection === "login") fill(box, icon("warning"), login(controls));
      else if (connection === "lost") fill(box, icon("warning"), t.connection.lost);
      else if (problem) {
        fill(box, icon("warning"), h("span", { class: "grow" }, problem.message, " ", h("span", { class: "soft" }, problem.hint)),
          iconButton("close", t.close, () => store.send({ type: "problem", problem: null })));
      }
    },
  );
  return box;
}

/** @param {Controls} controls */
function login(controls) {
  const answer = h("span", { class: "bad", role: "alert" });
  const token = h("input", { type: "password", autocomplete: "current-password", "aria-label": t.connection.token, required: true });
  return h("form", {
    class: "row grow",
    onsubmit: async (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      const refusal = await controls.login(token.value);
      answer.textContent = refusal?.status === 401 ? t.connection.wrong : (refusal?.message ?? "");
    },
  }, h("span", {}, t.connection.login), token, h("button", { class: "main" }, t.connection.enter),
  h("span", { class: "soft small" }, t.connection.tokenHint), answer);
}

/** The part of the address after # names the screen. @param {Store} store */
function followAddress(store) {
  const read = () => {
    const name = SCREENS.find((screen) => location.hash === `#${screen}`);
    if (name) store.send({ type: "screen", value: name });
  };
  addEventListener("hashchange", read);
  read();
  store.watch((state) => [state.screen], (screen) => {
    if (location.hash === `#${screen}`) return;
    window.history[location.hash ? "pushState" : "replaceState"](null, "", `#${screen}`); // "back" goes to the screen before
  });
}

/**
 * What a screen reader says of jobs: that one started, each quarter of a long one, and how it ended.
 * @param {Store} store
 */
function announcer(store) {
  const box = h("div", { class: "hidden-text", role: "status" });
  /** @type {Map<string, string>} what was said of each job last */
  const said = new Map();
  store.watch((state) => [state.jobs], (jobs) => {
    for (const job of Object.values(jobs)) {
      const text = news(job, Date.now() / 1000);
      const isOld = !said.has(job.id) && job.ended !== null && job.created * 1000 < performance.timeOrigin;
      if (text && text !== said.get(job.id) && !isOld) box.textContent = text;
      if (text || isOld) said.set(job.id, text);
    }
  });
  return box;
}

/**
 * @param {import("../types.js").Job} job
 * @param {number} now seconds since 1970
 */
function news(job, now) {
  const made = job.items.filter((item) => item.take).length;
  if (job.state === "succeeded") return t.news.done(made);
  if (job.state === "failed") return t.news.failed(job.items.find((item) => item.error)?.error?.message ?? "");
  if (job.state === "canceled") return t.news.canceled(made);
  if (job.state === "interrupted") return t.queue.interrupted;
  const quarter = Math.floor(4 * (job.progress?.fraction ?? 0));
  if (quarter === 0) return t.news.started(job.items.length);
  return job.started !== null && now - job.started > LONG_SECONDS ? t.news.quarter(25 * quarter) : "";
}
