/** Keep all samples that come in, and the frame of each block: tests compare what plays with the ideal. */

// @ts-nocheck: the types of audio worklets are not among those of the page
class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.blocks = [];
    this.port.onmessage = ({ data }) => {
      if (data === "start") this.blocks = [];
      else this.port.postMessage(this.blocks);
    };
  }

  process([input]) {
    if (input.length > 0) this.blocks.push({ frame: currentFrame, channels: input.map((channel) => channel.slice()) });
    return true;
  }
}

registerProcessor("recorder", Recorder);
