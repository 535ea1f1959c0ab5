/** Render what the player plays without a device, and compare it with the ideal sample by sample. */

import { Player } from "/studio/js/audio/player.js";

const RATE = 44_100;

/** Numbers that are the same in each run. */
function numbers(seed) {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

export function noise(samples, seed, level = 0.5) {
  const next = numbers(seed);
  return { rate: RATE, samples, channels: [0, 1].map(() => Float32Array.from({ length: samples }, () => level * (2 * next() - 1))) };
}

/**
 * Render a player for some seconds; `script` lists times with what is done then.
 * @returns {Promise<{channels: Float32Array[], start: number}>} `start`: the first sample that is heard
 */
async function rendered(seconds, prepare, script = [], rate = RATE) {
  const context = new OfflineAudioContext(2, Math.ceil(seconds * rate), rate);
  const player = new Player(() => context);
  for (const [time, act] of script) void context.suspend(time).then(() => (act(player), context.resume()));
  prepare(player);
  const start = Math.round(player._lines[0].began * rate);
  const buffer = await context.startRendering();
  const channels = [0, 1].map((channel) => {
    const samples = new Float32Array(buffer.length);
    buffer.copyFromChannel(samples, channel);
    return samples;
  });
  return { channels, start };
}

/** Samples that are not those of `ideal(index)`, by more than `step`. */
function differences({ channels, start }, ideal, { from = 0, to = channels[0].length - start, step = 0 } = {}) {
  let found = 0;
  channels.forEach((samples, channel) => {
    for (let at = from; at < to; at++) if (!(Math.abs(samples[start + at] - ideal(at, channel)) <= step)) found++;
  });
  return found;
}

const of = (sound) => (at, channel) => sound.channels[channel][at] ?? 0;

/** A bar of two seconds, twenty times. */
export async function bar() {
  const sound = noise(5 * RATE, 1);
  const loop = { start: 22_050, end: 22_050 + 2 * RATE };
  const found = await rendered(41, (player) => {
    player.set("b", sound);
    player.repeat(loop);
    player.play(loop.start);
  });
  return differences(found, (at, channel) => sound.channels[channel][loop.start + (at % (loop.end - loop.start))], { to: 40 * RATE });
}

/** Random loops, some entered in the middle or before them, at several rates. */
export async function loops(count) {
  const next = numbers(7);
  let found = 0;
  for (let index = 0; index < count; index++) {
    const rate = [44_100, 48_000, 22_050][index % 3];
    const sound = { ...noise(rate, index + 1), rate };
    const start = Math.floor(next() * rate * 0.5);
    const end = start + 20 + Math.floor(next() * rate * 0.4);
    const from = Math.floor(next() * end);
    const result = await rendered(1, (player) => {
      player.set("b", sound);
      player.repeat({ start, end });
      player.play(from);
    }, [], rate);
    const ideal = (at, channel) => sound.channels[channel][from + at < end ? from + at : start + ((from + at - start) % (end - start))];
    found += differences(result, ideal);
  }
  return found;
}

/** Start at a sample, end at another. */
export async function span() {
  const sound = noise(RATE, 3);
  const started = await rendered(1, (player) => {
    player.set("b", sound);
    player.play(12_345);
  });
  const span = await rendered(1, (player) => {
    player.set("b", sound);
    player.playSpan({ start: 1001, end: 9999 });
  });
  return differences(started, (at, channel) => of(sound)(12_345 + at, channel))
    + differences(span, (at, channel) => (at < 8998 ? of(sound)(1001 + at, channel) : 0));
}

/** Switch between two takes quickly. Returns how far the output is from where it should be, and how many samples differ. */
export async function switches(count, equal) {
  const a = noise(4 * RATE, 1);
  const b = equal ? noise(4 * RATE, 1) : noise(4 * RATE, 2);
  const times = Array.from({ length: count }, (_, index) => 0.1 + 0.05 * index);
  const script = times.map((time, index) => [time, (player) => player.choose(index % 2 ? "b" : "a")]);
  const result = await rendered(0.3 + 0.05 * count, (player) => {
    player.set("a", a);
    player.set("b", b);
    player.play(0);
  }, script);
  let outside = 0; // samples that do not lie between both takes
  let furthest = 0;
  let pure = 0; // samples that are exactly those of a take
  result.channels.forEach((samples, channel) => {
    for (let at = 0; at < samples.length - result.start; at++) {
      const [one, two, heard] = [a.channels[channel][at], b.channels[channel][at], samples[result.start + at]];
      outside += Number(heard < Math.min(one, two) - 2 ** -24 || heard > Math.max(one, two) + 2 ** -24);
      furthest = Math.max(furthest, Math.min(Math.abs(heard - one), Math.abs(heard - two)));
      pure += Number(heard === one || heard === two);
    }
  });
  return { outside, furthest, pure: pure / (2 * (result.channels[0].length - result.start)) };
}

/** A − B of equal takes, and of takes that differ in one place. */
export async function difference() {
  const a = noise(RATE, 1);
  const b = noise(RATE, 1);
  const same = await rendered(0.8, (player) => {
    player.set("a", a);
    player.set("b", b);
    player.choose("b", true);
    player.play(0);
  });
  const changed = { ...b, channels: b.channels.map((samples) => samples.map((value, at) => (at >= 1000 && at < 2000 ? -value : value))) };
  const other = await rendered(0.8, (player) => {
    player.set("a", a);
    player.set("b", changed);
    player.choose("b", true);
    player.play(0);
  });
  return differences(same, () => 0) + differences(other, (at, channel) => a.channels[channel][at] - changed.channels[channel][at]);
}

/** A take and a longer one of it: while the longer one repeats, the shorter one does so with it. */
export async function shorter() {
  const a = noise(0.3 * RATE, 1);
  const b = noise(0.5 * RATE, 2);
  const result = await rendered(2, (player) => {
    player.set("a", a);
    player.set("b", b);
    player.repeat({ start: 0, end: Infinity });
    player.choose("a");
    player.play(0);
  });
  return differences(result, (at, channel) => of(a)(at % (0.5 * RATE), channel));
}

/** The later begins later, and the earlier lacks its beginning. */
export async function leads() {
  const a = noise(0.3 * RATE, 1);
  let wrong = 0;
  for (const lead of [4410, -4410]) {
    const result = await rendered(1, (player) => {
      player.set("b", noise(0.5 * RATE, 2));
      player.set("a", a, lead);
      player.choose("a");
      player.play(0);
    });
    wrong += differences(result, (at, channel) => of(a)(at - lead, channel));
  }
  return wrong;
}

/** Jumps and new loops while it plays: the sound goes on without a gap, and exactly after the fade. */
export async function jumps() {
  const sound = noise(4 * RATE, 5, 0.25);
  const lines = [];
  const note = (player) => lines.push({ ...player._lines[player._lines.length - 1] });
  const result = await rendered(2.5, (player) => {
    player.set("b", sound);
    player.play(0);
    note(player);
  }, [
    [0.3, (player) => (player.seek(100_000), note(player))],
    [0.8, (player) => (player.repeat({ start: 120_000, end: 130_001 }), note(player))],
    [1.4, (player) => (player.repeat({ start: 120_000, end: 125_003 }), note(player))],
    [2.0, (player) => (player.repeat(null), note(player))],
  ]);
  let wrong = 0;
  let highest = 0;
  lines.forEach((line, index) => {
    const from = Math.round(line.began * RATE) + (index ? 221 : 0);
    const to = index + 1 < lines.length ? Math.round(lines[index + 1].began * RATE) : result.channels[0].length;
    for (let at = from; at < to; at++) {
      let position = line.from + at - Math.round(line.began * RATE);
      if (line.loop && position >= line.loop.end) position = line.loop.start + ((position - line.loop.start) % (line.loop.end - line.loop.start));
      wrong += Number(result.channels[0][at] !== sound.channels[0][position]);
    }
  });
  for (const value of result.channels[0]) highest = Math.max(highest, Math.abs(value));
  return { wrong, highest };
}

/** Clicks on the beats of a loop: the samples at which they begin. */
export async function clicks() {
  const silent = { ...noise(2 * RATE, 1), channels: [new Float32Array(2 * RATE), new Float32Array(2 * RATE)] };
  const result = await rendered(1.4, (player) => {
    player.set("b", silent);
    player.metronome.set({ bpm: 240, first: 0, beats: 4 });
    player.repeat({ start: 0, end: 22_050 });
    player.play(0);
  });
  const samples = result.channels[0];
  const found = [];
  for (let at = 1; at < samples.length; at++) {
    if (samples[at] !== 0 && samples[at - 1] === 0 && !(at - 2000 < (found.at(-1) ?? -1e9))) found.push(at);
  }
  return found.map((at) => at - result.start);
}
