// Hands-free talk: the microphone into /v1/realtime, the answers out of the speakers, the turns onto the page.
import type { RequestMetrics } from './api';
import { PCM_RATE } from './audio/pcm';
import { Microphone } from './audio/microphone';
import type { Player } from './audio/player';
import { entry, type Entry } from './conversation';
import { Realtime, type RealtimeOptions } from './realtime';

export interface TalkHandlers {
  onEntry(entry: Entry): void;
  onChange(id: number, update: (e: Entry) => Entry): void;
  onRunning(running: boolean): void;
  onMetrics(metrics: RequestMetrics): void;
  onLevel(level: number): void;
  onProblem(message: string): void;
  onEnd(): void;
}

export class Talk {
  private readonly realtime: Realtime;
  private readonly microphone: Microphone;
  private answer: Entry | null = null;
  private heard: Entry | null = null;
  private running = false;
  private muted = false; // what is still on its way of a cancelled answer

  constructor(options: RealtimeOptions, private readonly player: Player, private readonly to: TalkHandlers) {
    this.realtime = new Realtime(options, {
      onOpen: () => {},
      onUserSpeech: (speaking) => speaking && this.turn('…'),
      onUserTranscript: (text) => this.heard && to.onChange(this.heard.id, (e) => ({ ...e, text })),
      onResponse: () => {
        this.answer = entry('assistant', '');
        to.onEntry(this.answer);
        this.muted = false;
        this.setRunning(true);
      },
      onText: (delta) => this.edit((e) => ({ ...e, text: e.text + delta })),
      onAudio: (pcm) => {
        if (this.muted) return;
        player.push(pcm);
        this.edit((e) => ({ ...e, audio: [...e.audio, pcm] }));
      },
      onDone: (status, metrics) => {
        player.finish();
        if (metrics) to.onMetrics(metrics);
        const state = status === 'cancelled' ? 'stopped' : status === 'failed' ? 'failed' : 'done';
        this.edit((e) => ({ ...e, state }));
        this.setRunning(false);
      },
      onError: to.onProblem,
      onClose: to.onEnd,
    });
    this.microphone = new Microphone((pcm, level) => {
      to.onLevel(level);
      this.realtime.append(pcm);
    });
  }

  start(): Promise<void> {
    return this.microphone.start();
  }

  /** A typed turn in between. */
  say(text: string): void {
    this.cancel();
    this.turn(text);
    this.realtime.say(text);
  }

  /** Ends the running answer, if there is one. */
  cancel(): void {
    if (!this.running) return;
    this.muted = true;
    this.realtime.cancel();
  }

  close(): void {
    this.microphone.stop();
    this.realtime.close();
    this.edit((e) => (e.state === 'running' ? { ...e, state: 'stopped' } : e));
  }

  // Somebody else speaks: silence at once, and the server hears how much of the answer was played.
  private turn(text: string): void {
    if (this.player.playing) this.realtime.truncate((1000 * this.player.played) / PCM_RATE);
    this.player.stop();
    this.heard = entry('user', text);
    this.to.onEntry(this.heard);
  }

  private setRunning(running: boolean): void {
    this.running = running;
    this.to.onRunning(running);
  }

  private edit(update: (e: Entry) => Entry): void {
    if (this.answer) this.to.onChange(this.answer.id, update);
  }
}
