// Gathers 40 ms of input, as 16-bit samples, with its level (root mean square).
const CHUNK_SECONDS = 0.04;

class MicrophoneProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.pcm = new Int16Array(Math.round(CHUNK_SECONDS * sampleRate));
    this.filled = 0;
    this.energy = 0;
  }

  process(inputs) {
    const input = inputs[0][0];
    if (!input) return true;
    for (const value of input) {
      this.pcm[this.filled++] = Math.max(-1, Math.min(1, value)) * 32767;
      this.energy += value * value;
      if (this.filled === this.pcm.length) {
        const pcm = this.pcm.slice();
        this.port.postMessage({ pcm, level: Math.sqrt(this.energy / pcm.length) }, [pcm.buffer]);
        this.filled = 0;
        this.energy = 0;
      }
    }
    return true;
  }
}

registerProcessor('microphone', MicrophoneProcessor);
