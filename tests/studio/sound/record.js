/** Send a copy of all that the page plays to a recorder. Runs before the scripts of the page. */

const plain = AudioNode.prototype.connect;
const ready = [];
let recorder = null;
let began = 0;

AudioNode.prototype.connect = function connect(to, ...rest) {
  if (to instanceof AudioDestinationNode && this.context instanceof AudioContext) {
    const { context } = this;
    ready.push(context.audioWorklet.addModule("/studio/js/worklets/recorder.js").then(() => {
      recorder = new AudioWorkletNode(context, "recorder", { channelCount: 2, channelCountMode: "explicit" });
      plain.call(this, recorder);
      plain.call(recorder, to);
    }));
  }
  return plain.call(this, to, ...rest);
};

/** Times of the context at which keys came. */
const keyTimes = [];
addEventListener("keydown", (event) => {
  const context = recorder?.context;
  if (context) keyTimes.push([event.key, context.currentTime - (context.outputLatency || 0)]);
}, true);

globalThis.recording = {
  ready: () => Promise.all(ready),
  start: () => {
    began = recorder.context.currentTime;
    recorder.port.postMessage("start");
  },
  /** Seconds of sound since the start: a busy machine takes longer than a clock. */
  passed: () => recorder.context.currentTime - began,
  /** The samples since the start, as base64 of interleaved floats, and the frame of the first. */
  stop: () => new Promise((done) => {
    recorder.port.onmessage = ({ data }) => {
      const samples = new Float32Array(data.length * 256);
      data.forEach(({ channels }, block) => channels.forEach((channel, index) =>
        channel.forEach((value, at) => (samples[2 * (128 * block + at) + index] = value))));
      const bytes = Array.from(new Uint8Array(samples.buffer), (byte) => String.fromCharCode(byte)).join("");
      done({ frame: data[0]?.frame ?? 0, samples: btoa(bytes), keys: keyTimes });
    };
    recorder.port.postMessage("stop");
  }),
};
