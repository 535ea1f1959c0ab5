/** Draw spectrograms from the tiles of the server: 256 rows of 512 bytes, a column is 256 samples times two to the level. */

import { api } from "../net/api.js";
import { toX } from "./grid.js";

const COLUMNS = 512;
const ROWS = 256;
const HOP = 256;
const MAX_LEVEL = 12;
const KEPT = 96; // tiles
const LOWEST_HZ = 30; // of the lowest row; the highest ends at half the rate
const MARKS = /** @type {const} */ ([[100, "100"], [1000, "1k"], [10_000, "10k"]]); // Hz

/** @typedef {import("./grid.js").View} View */

export class Spectrogram {
  /** @param {() => void} redraw is called when a tile has come */
  constructor(redraw) {
    this.redraw = redraw;
    /** @type {Map<string, {bytes: Uint8Array | null, image: ImageBitmap | OffscreenCanvas | null, colors: string}>} */
    this.tiles = new Map();
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {View} view
   * @param {{take: string, samples: number, rate: number, lane: import("./wave.js").Lane, colors: import("../parts/palette.js").Palette}} what
   */
  draw(context, view, { take, samples, rate, lane, colors }) {
    const { ramp } = colors;
    const level = Math.max(0, Math.min(MAX_LEVEL, Math.floor(Math.log2(Math.max(1, view.perPixel / HOP)))));
    const length = COLUMNS * HOP * 2 ** level;
    const first = Math.max(0, Math.floor(view.start / length));
    const last = Math.min(Math.ceil(samples / length) - 1, Math.floor((view.start + view.width * view.perPixel) / length));
    context.save();
    context.beginPath();
    context.rect(Math.max(0, toX(view, 0)), lane.y, Math.min(view.width, toX(view, samples)) - Math.max(0, toX(view, 0)), lane.height);
    context.clip();
    for (let number = first; number <= last; number++) {
      const image = this._image(take, number, level, ramp);
      if (image) context.drawImage(image, toX(view, number * length), lane.y, length / view.perPixel, lane.height);
    }
    context.restore();
    context.font = colors.font;
    context.textBaseline = "middle";
    context.fillStyle = colors.text;
    for (const [hertz, text] of MARKS) {
      const y = lane.y + lane.height * (1 - Math.log(hertz / LOWEST_HZ) / Math.log(rate / 2 / LOWEST_HZ));
      const isFree = view.start >= 0 || Math.abs(y - context.canvas.clientHeight / 2 - 14) > 18; // the ⊕ is there
      if (y > lane.y + 6 && isFree) context.fillText(text, 4, y);
    }
  }

  /**
   * @param {string} take
   * @param {number} number
   * @param {number} level
   * @param {string[]} ramp
   */
  _image(take, number, level, ramp) {
    const key = `${take} ${level} ${number}`;
    const tile = this.tiles.get(key) ?? this._ask(key, take, number, level);
    this.tiles.delete(key);
    this.tiles.set(key, tile);
    const colors = ramp.join();
    if (tile.bytes && tile.colors !== colors) {
      tile.image = painted(tile.bytes, ramp);
      tile.colors = colors;
    }
    return tile.image;
  }

  /**
   * @param {string} key
   * @param {string} take
   * @param {number} number
   * @param {number} level
   */
  _ask(key, take, number, level) {
    /** @type {{bytes: Uint8Array | null, image: OffscreenCanvas | null, colors: string}} */
    const tile = { bytes: null, image: null, colors: "" };
    api.tile(take, number, level).then(
      (data) => {
        tile.bytes = new Uint8Array(data);
        this.redraw();
      },
      () => this.tiles.delete(key),
    );
    for (const old of [...this.tiles.keys()].slice(0, -KEPT)) this.tiles.delete(old);
    return tile;
  }
}

/**
 * @param {Uint8Array} bytes
 * @param {string[]} ramp
 */
function painted(bytes, ramp) {
  const canvas = new OffscreenCanvas(COLUMNS, ROWS);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const lookup = ramped(ramp);
  const image = context.createImageData(COLUMNS, ROWS);
  const pixels = new Uint32Array(image.data.buffer);
  for (let at = 0; at < pixels.length; at++) pixels[at] = lookup[bytes[at]];
  context.putImageData(image, 0, 0);
  return canvas;
}

/**
 * 256 colors between those of a ramp.
 * @param {string[]} ramp
 */
function ramped(ramp) {
  const canvas = new OffscreenCanvas(256, 1);
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const gradient = context.createLinearGradient(0, 0, 256, 0);
  ramp.forEach((color, index) => gradient.addColorStop(index / (ramp.length - 1), color));
  context.fillStyle = gradient;
  context.fillRect(0, 0, 256, 1);
  return new Uint32Array(context.getImageData(0, 0, 256, 1).data.buffer);
}
