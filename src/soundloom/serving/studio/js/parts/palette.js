/** The colors of the style sheets, for canvases. */

import { h } from "./element.js";

const NAMES = {
  wave: "--wave", fresh: "--wave-new", region: "--region", edge: "--region-edge", selection: "--selection", text: "--text",
  soft: "--text-soft", line: "--line", faint: "--grid-line", raised: "--raised", well: "--well", accent: "--accent",
};

/** With colors that a user forces, all others are that of text. @type {Record<string, string>} */
const FORCED = { "--raised": "Canvas", "--well": "Canvas", "--region-edge": "Highlight", "--accent": "Highlight", "--grid-line": "GrayText" };

/** @typedef {Record<keyof typeof NAMES, string> & {font: string, ramp: string[]}} Palette */

/**
 * Read what the colors are now: the browser resolves light-dark() only for properties that it knows.
 * @param {HTMLElement} parent
 * @returns {Palette}
 */
export function palette(parent) {
  const probe = h("span", { hidden: true });
  probe.style.setProperty("forced-color-adjust", "none");
  parent.append(probe);
  const style = getComputedStyle(probe);
  const forced = matchMedia("(forced-colors: active)").matches ? FORCED : {};
  const color = (/** @type {string} */ name) => {
    probe.style.color = forced[name] ?? `var(${name})`;
    return style.color;
  };
  const found = /** @type {any} */ (Object.fromEntries(Object.entries(NAMES).map(([name, token]) => [name, color(token)])));
  if (forced === FORCED) Object.assign(found, { region: "transparent", selection: "color-mix(in srgb, Highlight 35%, transparent)" });
  found.ramp = [0, 1, 2, 3].map((index) => color(`--spectrum-${index}`));
  probe.style.font = "var(--size-xs) var(--font)";
  found.font = style.font;
  probe.remove();
  return /** @type {Palette} */ (found);
}
