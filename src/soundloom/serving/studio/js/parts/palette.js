/** The colors of the style sheets, for canvases. */

import { h } from "./element.js";

const NAMES = {
  wave: "--wave", fresh: "--wave-new", region: "--region", edge: "--region-edge", selection: "--selection", text: "--text",
  soft: "--text-soft", line: "--line", faint: "--grid-line", raised: "--raised", well: "--well", accent: "--accent",
};

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
  const color = (/** @type {string} */ name) => {
    probe.style.color = `var(${name})`;
    return style.color;
  };
  const found = /** @type {any} */ (Object.fromEntries(Object.entries(NAMES).map(([name, token]) => [name, color(token)])));
  found.ramp = [0, 1, 2, 3].map((index) => color(`--spectrum-${index}`));
  probe.style.font = "var(--size-xs) var(--font)";
  found.font = style.font;
  probe.remove();
  return /** @type {Palette} */ (found);
}
