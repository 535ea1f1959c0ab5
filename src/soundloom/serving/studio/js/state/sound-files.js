/** What files the server reads, by their first bytes. Pure. */

export const MAX_BYTES = 2 ** 28;

/**
 * Whether a file begins as WAV, AIFF, FLAC, OGG or MP3 does.
 * @param {Uint8Array} start its first 16 bytes
 */
export function isSound(start) {
  const text = (/** @type {number} */ from, /** @type {number} */ to) => String.fromCharCode(...start.subarray(from, to));
  if (["RIFF", "RIFX", "RF64"].includes(text(0, 4))) return text(8, 12) === "WAVE";
  if (text(0, 4) === "FORM") return ["AIFF", "AIFC"].includes(text(8, 12));
  if (["fLaC", "OggS"].includes(text(0, 4)) || text(0, 3) === "ID3") return true;
  return start.length > 1 && start[0] === 0xff && (start[1] & 0xe0) === 0xe0 && (start[1] & 0x06) !== 0;
}
