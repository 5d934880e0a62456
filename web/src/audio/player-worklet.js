// Plays queued chunks sample by sample. After running dry it waits for a little lead again, so that
// one late chunk makes one pause and not a stutter.
const LEAD_SECONDS = 0.06;

class PlayerProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.reset();
    this.port.onmessage = ({ data }) => {
      if (data.type === 'samples') {
        this.queue.push(data.samples);
        this.available += data.samples.length;
        this.finished = false;
      } else if (data.type === 'finish') {
        this.finished = true;
      } else {
        this.reset();
        this.report();
      }
    };
  }

  reset() {
    this.queue = [];
    this.position = 0;
    this.available = 0;
    this.playing = false;
    this.finished = false;
    this.played = 0;
    this.blocks = 0;
  }

  report() {
    this.port.postMessage({ playing: this.playing, played: this.played });
  }

  process(_inputs, outputs) {
    const out = outputs[0][0];
    if (!this.playing && (this.available >= LEAD_SECONDS * sampleRate || (this.finished && this.available > 0))) {
      this.playing = true;
      this.report();
    }
    if (!this.playing) return true;
    let at = 0;
    while (at < out.length && this.queue.length > 0) {
      const head = this.queue[0];
      const count = Math.min(out.length - at, head.length - this.position);
      out.set(head.subarray(this.position, this.position + count), at);
      at += count;
      this.position += count;
      if (this.position === head.length) {
        this.queue.shift();
        this.position = 0;
      }
    }
    this.available -= at;
    this.played += at;
    if (this.available === 0) {
      this.playing = false;
      this.report();
    } else if (++this.blocks % 20 === 0) {
      this.report();
    }
    return true;
  }
}

registerProcessor('player', PlayerProcessor);
