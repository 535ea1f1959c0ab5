/** The stack of adapters: which ones act, how strongly, at which noise levels, and what a take is like without them. */

import { openTake } from "../state/actions.js";
import { t } from "../strings.js";
import { files as words } from "../strings-work.js";
import { fill, h, icon, iconButton, keyed } from "./element.js";
import { newId } from "./fields.js";

/** @typedef {import("../net/events.js").Store} Store */
/** @typedef {import("../controls.js").Controls} Controls */
/** @typedef {import("../types.js").LoraUse} LoraUse */
/** @typedef {import("../types.js").Lora} Lora */

const MAX = 2; // strength of the sliders; more can be typed

/**
 * What is inside the fold of adapters.
 * @param {Store} store
 * @param {Controls} controls
 */
export function loras(store, controls) {
  const list = h("ol", { class: "column" });
  store.watch((state) => [state.words.loras, state.loras, state.model], (uses, known, model) =>
    keyed(list, uses, (use) => use.name, (use) => row(store, use), (element, use) =>
      update(element, use, uses, known.find((one) => one.name === use.name), model)));
  return [list, adder(store), addFile(store, controls), without(store, controls)];
}

/**
 * @param {Store} store
 * @param {string} name
 * @param {Partial<LoraUse>} values
 */
function change(store, name, values) {
  const loras = store.state.words.loras.map((use) => (use.name === name ? { ...use, ...values } : use));
  store.send({ type: "words", words: { loras } });
}

/**
 * @param {Store} store
 * @param {LoraUse} use
 */
function row(store, { name }) {
  const id = newId();
  const on = h("input", { id, type: "checkbox", "data-role": "on", onchange: () => change(store, name, { on: on.checked }) });
  const strength = h("input", {
    type: "range", min: String(-MAX), max: String(MAX), step: "0.05", class: "grow", "data-role": "slider",
    "aria-label": t.loras.strength(name), title: t.loras.doubleClick,
    oninput: () => change(store, name, { strength: strength.valueAsNumber }),
    ondblclick: () => change(store, name, { strength: 1 }),
  });
  const typed = h("input", {
    type: "number", step: "0.05", min: "-100", max: "100", class: "number short", "data-role": "typed",
    "aria-label": t.loras.typed(name),
    oninput: () => typed.value !== "" && typed.validity.valid && change(store, name, { strength: typed.valueAsNumber }),
  });
  const move = (/** @type {number} */ by) => {
    const uses = [...store.state.words.loras];
    const at = uses.findIndex((use) => use.name === name);
    const [moved] = uses.splice(at, 1);
    uses.splice(at + by, 0, moved);
    store.send({ type: "words", words: { loras: uses } });
  };
  const ends = [0, 1].map((end) => {
    const send = () => {
      if (input.value === "" || !input.validity.valid) return;
      const value = input.valueAsNumber;
      const { sigma } = store.state.words.loras.find((use) => use.name === name) ?? { sigma: [0, 1] };
      change(store, name, { sigma: end ? [Math.min(sigma[0], value), value] : [value, Math.max(sigma[1], value)] });
    };
    const label = end ? t.loras.to(name) : t.loras.from(name);
    const input = h("input", {
      type: "number", min: "0", max: "1", step: "0.05", class: "number short", "data-role": `sigma${end}`, "aria-label": label, oninput: send,
    });
    return input;
  });
  const remove = () => store.send({ type: "words", words: { loras: store.state.words.loras.filter((use) => use.name !== name) } });
  return h("li", { class: "lora column tight" },
    h("div", { class: "row" }, on, h("label", { htmlFor: id, class: "grow cut", title: name }, name),
      iconButton("up", t.loras.up(name), () => move(-1), { "data-role": "up" }),
      iconButton("down", t.loras.down(name), () => move(1), { "data-role": "down" }),
      iconButton("close", t.loras.remove(name), remove)),
    h("div", { class: "row strength" }, strength, typed),
    h("p", { class: "bad small", "data-role": "problem" }),
    h("details", { class: "small" }, h("summary", {}, t.loras.levels),
      h("div", { class: "row" }, ends[0], t.loras.until, ends[1]), h("p", { class: "soft" }, t.loras.levelsHint)));
}

/**
 * @param {HTMLElement} element
 * @param {LoraUse} use
 * @param {LoraUse[]} uses
 * @param {Lora | undefined} known
 * @param {string} model
 */
function update(element, use, uses, known, model) {
  const part = (/** @type {string} */ role) => /** @type {HTMLInputElement} */ (element.querySelector(`[data-role="${role}"]`));
  part("on").checked = use.on;
  part("slider").value = String(use.strength);
  for (const [role, value] of /** @type {[string, number][]} */ ([["typed", use.strength], ["sigma0", use.sigma[0]], ["sigma1", use.sigma[1]]])) {
    if (document.activeElement !== part(role)) part(role).value = String(Math.round(value * 100) / 100);
  }
  part("up").disabled = uses[0] === use;
  part("down").disabled = uses[uses.length - 1] === use;
  part("problem").textContent = use.on ? whyNot(known, use.name, model) : "";
  part("problem").hidden = !part("problem").textContent;
}

/**
 * Why an adapter cannot be used, or an empty text.
 * @param {Lora | undefined} lora
 * @param {string} name
 * @param {string} model
 */
function whyNot(lora, name, model) {
  if (!lora) return t.loras.gone(name);
  if (lora.error) return lora.error;
  return lora.fits.length > 0 && !lora.fits.includes(model.replace(/-base$/, "")) ? t.loras.otherModel(lora.fits.join(", "), model) : "";
}

/**
 * Choose files of adapters to send, where the server accepts them.
 * @param {Store} store
 * @param {Controls} controls
 */
export function addFile(store, controls) {
  const input = h("input", { type: "file", accept: ".safetensors", multiple: true, hidden: true, onchange: () => {
    controls.receive?.([...(input.files ?? [])]);
    input.value = "";
  } });
  const box = h("div", { class: "row" }, h("button", { type: "button", onclick: () => input.click() }, icon("upload"), words.addAdapter), input);
  store.watch((state) => [state.system?.lora_uploads], (may) => (box.hidden = !may));
  return box;
}

/** Add an adapter of the server's folder. @param {Store} store */
function adder(store) {
  const box = h("div", { class: "column tight" });
  store.watch((state) => [state.loras, state.words.loras, state.model], (known, uses, model) => {
    const left = known.filter((lora) => !uses.some((use) => use.name === lora.name));
    if (known.length === 0) return void fill(box, h("p", { class: "soft small" }, t.loras.none));
    const chips = left.map((lora) => {
      const reason = whyNot(lora, lora.name, model);
      const title = reason || t.loras.rank(lora.rank, lora.type);
      const use = { name: lora.name, strength: lora.strength ?? 1, on: true, sigma: /** @type {[number, number]} */ ([0, 1]) };
      const add = () => store.send({ type: "words", words: { loras: [...store.state.words.loras, use] } });
      const button = h("button", { type: "button", class: "chip", disabled: reason !== "", title, onclick: add }, icon("add"), lora.name);
      return h("li", { class: "row" }, button, h("span", { class: "soft small grow" }, reason));
    });
    const triggers = known.flatMap((lora) => (lora.trigger && uses.some((use) => use.on && use.name === lora.name) ? [lora.trigger] : []));
    const chip = (/** @type {string} */ text) => h("button", { type: "button", class: "chip", onclick: () => {
      const { prompt } = store.state.words;
      if (!prompt.includes(text)) store.send({ type: "words", words: { prompt: [prompt.trim(), text].filter(Boolean).join(", ") } });
    } }, text);
    fill(box, chips.length > 0 && h("ul", { class: "column tight" }, chips),
      triggers.length > 0 && h("div", { class: "row" }, h("span", { class: "soft small" }, t.loras.triggers), triggers.map(chip)));
  });
  return box;
}

/**
 * Hold to hear the take without its adapters; if there is no such take yet, make it.
 * @param {Store} store
 * @param {Controls} controls
 */
function without(store, controls) {
  const button = h("button", { type: "button" });
  const uses = () => Boolean(openTake(store.state)?.record.request?.loras?.uses?.length);
  const hold = (/** @type {boolean} */ held) => {
    const twin = controls.twin();
    if (!twin) return;
    if (store.state.compare !== twin.id) store.send({ type: "compare", take: twin.id });
    store.send({ type: "listening", listening: { side: held ? "a" : "b" } });
  };
  button.addEventListener("pointerdown", () => hold(true));
  for (const end of ["pointerup", "pointercancel", "pointerleave", "blur", "keyup"]) button.addEventListener(end, () => hold(false));
  button.addEventListener("keydown", (event) => void ((event.key === " " || event.key === "Enter") && !event.repeat && hold(true)));
  button.addEventListener("click", () => void (!controls.twin() && controls.makeWithout()));
  store.watch((state) => [state.takes, openTake(state)], () => {
    button.hidden = !uses();
    button.textContent = controls.twin() ? t.loras.holdWithout : t.loras.makeWithout;
  });
  return button;
}
