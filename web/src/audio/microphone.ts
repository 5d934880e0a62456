// The microphone as chunks of 16-bit mono samples at a fixed rate.
import workletUrl from './microphone-worklet.js?url';

export const MICROPHONE_RATE = 24000;

export class Microphone {
  private context: AudioContext | null = null;
  private stream: MediaStream | null = null;
  private stopped = false;

  constructor(private readonly onSamples: (pcm: Int16Array, level: number) => void) {}

  /** Lets go of the device again when it cannot be used. */
  async start(): Promise<void> {
    try {
      await this.open();
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  private async open(): Promise<void> {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Error('This page may use the microphone only over https or on localhost.');
    }
    // Models learn from sound as it is: noise suppression takes more from speech than noise does.
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { channelCount: 1, echoCancellation: true, noiseSuppression: false, autoGainControl: true },
    });
    if (this.stopped) return this.stop(); // let go before it was open
    this.context = new AudioContext({ sampleRate: MICROPHONE_RATE });
    await this.context.audioWorklet.addModule(workletUrl);
    if (!this.context) return;
    const source = this.context.createMediaStreamSource(this.stream);
    const node = new AudioWorkletNode(this.context, 'microphone', { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }) => {
      if (!this.stopped) this.onSamples(data.pcm, data.level); // some are on their way when it is stopped
    };
    source.connect(node);
  }

  stop(): void {
    this.stopped = true;
    this.stream?.getTracks().forEach((track) => track.stop());
    void this.context?.close();
    this.stream = null;
    this.context = null;
  }
}
