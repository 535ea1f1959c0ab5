/**
 * The pyramid of peaks that the server makes: the lowest and highest samples over spans of several lengths. Pure.
 *
 * @typedef {{span: number, count: number, data: Int16Array}} Level  data: (count, channels, lowest and highest)
 * @typedef {{channels: number, samples: number, levels: Level[]}} Peaks
 */

const FIRST_SPAN = 256;
const FACTOR = 4;
const HEADER = 24;

/**
 * @param {ArrayBuffer} data
 * @returns {Peaks}
 */
export function readPeaks(data) {
  const view = new DataView(data);
  const channels = view.getUint32(8, true);
  const levels = view.getUint32(12, true);
  const samples = Number(view.getBigUint64(16, true));
  const found = [];
  let offset = HEADER + 4 * levels;
  for (let level = 0; level < levels; level++) {
    const count = view.getUint32(HEADER + 4 * level, true);
    found.push({ span: FIRST_SPAN * FACTOR ** level, count, data: new Int16Array(data, offset, count * channels * 2) });
    offset += count * channels * 4;
  }
  return { channels, samples, levels: found };
}

/**
 * Return the lowest and highest values of one channel for each column of a view, in −1 to 1: `out` gets (columns, 2).
 * @param {Peaks} peaks
 * @param {number} channel
 * @param {number} start first sample
 * @param {number} perColumn samples of a column; below the span of the first level neighbors show the same
 * @param {Float32Array} out
 */
export function columns(peaks, channel, start, perColumn, out) {
  const level = [...peaks.levels].reverse().find((one) => one.span <= perColumn) ?? peaks.levels[0];
  const { span, count, data } = level;
  for (let column = 0; column < out.length / 2; column++) {
    const from = Math.floor((start + column * perColumn) / span);
    const to = Math.max(from + 1, Math.ceil((start + (column + 1) * perColumn) / span));
    let low = 0;
    let high = 0;
    for (let index = Math.max(0, from); index < Math.min(count, to); index++) {
      const at = (index * peaks.channels + channel) * 2;
      if (index === Math.max(0, from)) {
        low = data[at];
        high = data[at + 1];
      } else {
        low = Math.min(low, data[at]);
        high = Math.max(high, data[at + 1]);
      }
    }
    out[2 * column] = low / 32767;
    out[2 * column + 1] = high / 32767;
  }
}
