/**
 * The sounds of takes. WAV files are read to their exact samples. Browsers decode 16-bit files up to one step off, so they are not asked.
 *
 * @typedef {{rate: number, channels: Float32Array<ArrayBuffer>[], samples: number}} Sound
 */

import { api } from "../net/api.js";

const PCM = 1;
const FLOAT = 3;
const EXTENSIBLE = 0xfffe;

/**
 * @param {ArrayBuffer} data
 * @returns {Sound} raises Error for what is no WAV file
 */
export function readWav(data) {
  const view = new DataView(data);
  if (data.byteLength < 12 || text(view, 0) !== "RIFF" || text(view, 8) !== "WAVE") throw new Error("This is no WAV file.");
  /** @type {{format: number, channels: number, rate: number, bits: number} | null} */
  let format = null;
  for (let at = 12; at + 8 <= data.byteLength; ) {
    const size = view.getUint32(at + 4, true);
    const start = at + 8;
    if (text(view, at) === "fmt ") {
      const tag = view.getUint16(start, true);
      format = {
        format: tag === EXTENSIBLE ? view.getUint16(start + 24, true) : tag,
        channels: view.getUint16(start + 2, true),
        rate: view.getUint32(start + 4, true),
        bits: view.getUint16(start + 14, true),
      };
    } else if (text(view, at) === "data" && format) {
      return samples(view, start, Math.min(size, data.byteLength - start), format);
    }
    at = start + size + (size % 2);
  }
  throw new Error("This WAV file has no audio.");
}

/**
 * @param {DataView} view
 * @param {number} at
 */
function text(view, at) {
  return String.fromCharCode(...[0, 1, 2, 3].map((index) => view.getUint8(at + index)));
}

/**
 * @param {DataView} view
 * @param {number} start
 * @param {number} size
 * @param {{format: number, channels: number, rate: number, bits: number}} format
 * @returns {Sound}
 */
function samples(view, start, size, format) {
  const width = format.bits / 8;
  const read = reader(view, format);
  const count = Math.floor(size / (width * format.channels));
  const channels = Array.from({ length: format.channels }, () => new Float32Array(count));
  let at = start;
  for (let index = 0; index < count; index++) {
    for (const channel of channels) {
      channel[index] = read(at);
      at += width;
    }
  }
  return { rate: format.rate, channels, samples: count };
}

/**
 * @param {DataView} view
 * @param {{format: number, bits: number}} format
 * @returns {(at: number) => number}
 */
function reader(view, { format, bits }) {
  if (format === FLOAT && bits === 32) return (at) => view.getFloat32(at, true);
  if (format === FLOAT && bits === 64) return (at) => view.getFloat64(at, true);
  if (format === PCM && bits === 8) return (at) => (view.getUint8(at) - 128) / 128;
  if (format === PCM && bits === 16) return (at) => view.getInt16(at, true) / 2 ** 15;
  if (format === PCM && bits === 24) return (at) => (view.getInt8(at + 2) * 2 ** 16 + view.getUint16(at, true)) / 2 ** 23;
  if (format === PCM && bits === 32) return (at) => view.getInt32(at, true) / 2 ** 31;
  throw new Error(`This WAV file has samples of ${bits} bits in format ${format}, which cannot be played.`);
}

/** @type {WeakMap<Sound, {buffer: AudioBuffer, lead: number}>} */
const buffers = new WeakMap();

/**
 * The buffer of a sound, made once.
 * @param {BaseAudioContext} context
 * @param {Sound} sound
 * @param {number} lead samples of silence before it; fewer than none leave out its beginning
 * @param {number} least samples of the buffer; silence is added up to them
 * @returns {AudioBuffer}
 */
export function bufferOf(context, sound, lead = 0, least = 0) {
  const known = buffers.get(sound);
  if (known?.lead === lead && known.buffer.length >= least) return known.buffer;
  const buffer = context.createBuffer(sound.channels.length, Math.max(1, sound.samples + lead, least), sound.rate);
  sound.channels.forEach((channel, index) => buffer.copyToChannel(channel.subarray(Math.max(0, -lead)), index, Math.max(0, lead)));
  buffers.set(sound, { buffer, lead });
  return buffer;
}

const KEPT = 3; // two that are compared, and a candidate

/** @type {Map<string, Promise<Sound>>} */
const sounds = new Map();

/**
 * @param {string} take
 * @returns {Promise<Sound>} raises ApiError, or Error for a file that cannot be played
 */
export function soundOf(take) {
  const known = sounds.get(take);
  const found = known ?? api.audio(take).then(readWav);
  sounds.delete(take);
  sounds.set(take, found);
  found.catch(() => sounds.delete(take));
  for (const old of [...sounds.keys()].slice(0, -KEPT)) sounds.delete(old);
  return found;
}
