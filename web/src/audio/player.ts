// Gapless playback of PCM while it arrives: chunks go to an AudioWorklet that plays them end to end.
import { PCM_RATE } from './pcm';
import workletUrl from './player-worklet.js?url';

export interface PlayerState {
  /** Paused in the middle counts as playing. */
  playing: boolean;
  paused: boolean;
  /** Samples that have left the speaker since the last stop(). */
  played: number;
}

export class Player implements PlayerState {
  private context: AudioContext | null = null;
  private node: AudioWorkletNode | null = null;
  private ready: Promise<void> | null = null;
  private waiting: Float32Array[] = [];
  private finished = false;
  private closed = false;
  onReport: (state: PlayerState) => void = () => {};
  playing = false;
  paused = false;
  played = 0;

  /** Browsers allow sound only after a gesture: call it from one. Where there is none yet, the next call tries again. */
  unlock(): void {
    if (this.closed) return;
    this.ready ??= this.open().catch(() => {
      void this.context?.close();
      this.context = null;
      this.ready = null;
    });
    if (!this.paused) void this.context?.resume();
  }

  private async open(): Promise<void> {
    this.context = new AudioContext({ sampleRate: PCM_RATE, latencyHint: 'interactive' });
    await this.context.audioWorklet.addModule(workletUrl);
    const node = new AudioWorkletNode(this.context, 'player', { outputChannelCount: [1] });
    node.port.onmessage = ({ data }) => {
      this.played = data.played;
      this.playing = data.playing;
      this.report();
    };
    node.connect(this.context.destination);
    this.node = node;
    for (const samples of this.waiting.splice(0)) this.post(samples);
    if (this.finished) this.finish();
  }

  push(pcm: Int16Array): void {
    const samples = Float32Array.from(pcm, (value) => value / 32768);
    this.finished = false;
    if (this.node) this.post(samples);
    else this.waiting.push(samples);
  }

  /** No more samples will come for this answer: play what is there, however little. */
  finish(): void {
    this.finished = true;
    this.node?.port.postMessage({ type: 'finish' });
  }

  /** Holds the sound where it is; what comes meanwhile is kept. */
  pause(paused: boolean): void {
    this.paused = paused;
    void (paused ? this.context?.suspend() : this.context?.resume());
    this.report();
  }

  stop(): void {
    this.waiting = [];
    this.finished = false;
    this.played = 0;
    this.playing = false;
    this.node?.port.postMessage({ type: 'stop' });
    this.pause(false);
  }

  close(): void {
    this.closed = true;
    this.stop();
    this.onReport = () => {};
    void this.context?.close().catch(() => {}); // it may be closed already, when it could not be opened
    this.context = null;
    this.node = null;
  }

  private report(): void {
    const { playing, paused, played } = this;
    this.onReport({ playing, paused, played });
  }

  private post(samples: Float32Array): void {
    this.node!.port.postMessage({ type: 'samples', samples }, [samples.buffer]);
  }
}

/** A WAV file of 16-bit mono samples, for the replay control and for sending a recording. */
export function wavBlob(chunks: Int16Array[], rate: number): Blob {
  const count = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  const view = new DataView(new ArrayBuffer(44));
  const tag = (offset: number, text: string) => {
    for (let i = 0; i < text.length; ++i) view.setUint8(offset + i, text.charCodeAt(i));
  };
  tag(0, 'RIFF');
  view.setUint32(4, 36 + 2 * count, true);
  tag(8, 'WAVEfmt ');
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true);
  view.setUint16(22, 1, true);
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  tag(36, 'data');
  view.setUint32(40, 2 * count, true);
  return new Blob([view.buffer, ...(chunks as unknown as BlobPart[])], { type: 'audio/wav' });
}
