// Hands-free talk: the microphone into /v1/realtime, the answers out of the speakers, the turns onto the page.
import { PCM_RATE } from './audio/pcm';
import { Microphone } from './audio/microphone';
import type { Player } from './audio/player';
import { entry, type Attachment, type Entry } from './conversation';
import { Gathered } from './paced';
import type { ProgressMarks } from './progress';
import { Realtime, type RealtimeOptions, type RealtimeResponse } from './realtime';

export interface TalkHandlers {
  onEntry(entry: Entry): void;
  onChange(id: number, update: (e: Entry) => Entry): void;
  onFailed(answer: number, message: string): void;
  onRunning(running: boolean): void;
  onLevel(level: number): void;
  onProblem(message: string): void;
  onEnd(): void;
}

/** A question on the page and the item that it is on the server. */
interface Asked {
  id: number;
  item: string;
}

export class Talk {
  private readonly realtime: Realtime;
  private readonly microphone: Microphone;
  private answer: Entry | null = null;
  private readonly news = new Gathered((text, audio) =>
    this.edit((e) => ({ ...e, text: e.text + text, audio: [...e.audio, ...audio] })),
  );
  private asked: Asked | null = null; // the last of `turns`
  private answered: Asked | null = null; // what `answer` answers
  private readonly turns = new Map<string, Asked>(); // spoken ones whose words are still being written down
  private readonly typed = new Map<string, number>(); // entries by their items
  private running = false;
  private muted = false; // what is still on its way of a cancelled answer

  constructor(
    options: RealtimeOptions,
    private readonly player: Player,
    private readonly marks: ProgressMarks,
    private readonly to: TalkHandlers,
  ) {
    this.realtime = new Realtime(options, {
      onUserSpeech: (item) => {
        this.turn(item, { ...entry('user', ''), state: 'running' });
        this.turns.set(item, this.asked!);
      },
      onUserTranscript: (item, text) => this.written(item, text),
      onResponse: () => this.begin(),
      onText: (delta) => {
        marks.text();
        this.news.addText(delta);
      },
      onAudio: (pcm) => {
        if (this.muted) return;
        marks.sound(pcm.length);
        player.push(pcm);
        this.news.addAudio(pcm);
      },
      onDone: (response) => this.done(response),
      onRefused: (item, message) => {
        const turn = this.typed.get(item);
        if (turn) to.onChange(turn, (e) => ({ ...e, state: 'failed', error: message }));
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

  /** A turn in between that was typed, or shown. */
  say(text: string, attachments: Attachment[]): void {
    this.cancel();
    const question = entry('user', text, attachments);
    const item = `typed_${question.id}`;
    this.typed.set(item, question.id);
    this.turn(item, question);
    this.realtime.say(item, text, attachments);
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
    for (const item of [...this.turns.keys()]) this.written(item, null);
    this.news.flush();
    this.edit((e) => (e.state === 'running' ? { ...e, state: 'stopped' } : e));
    this.marks.end();
  }

  // Somebody else speaks: silence at once, and the server hears how much of the answer was played.
  private turn(item: string, question: Entry): void {
    if (this.player.playing) this.realtime.truncate((1000 * this.player.played) / PCM_RATE);
    this.player.stop();
    this.asked = { id: question.id, item };
    this.to.onEntry(question);
  }

  private written(item: string, text: string | null): void {
    const turn = this.turns.get(item);
    if (!turn) return;
    this.turns.delete(item);
    // A turn that has failed meanwhile stays so.
    const heard = (e: Entry): Entry['state'] => (e.state === 'running' ? (text ? 'done' : 'stopped') : e.state);
    this.to.onChange(turn.id, (e) => ({ ...e, text: text ?? '', state: heard(e) }));
  }

  private begin(): void {
    this.news.flush();
    this.answered = this.asked;
    this.answer = { ...entry('assistant', ''), question: this.asked?.id };
    this.to.onEntry(this.answer);
    this.marks.begin();
    this.muted = false;
    this.setRunning(true);
  }

  private done({ status, status_details, stage_metrics }: RealtimeResponse): void {
    this.news.flush();
    this.player.finish();
    this.marks.end();
    if (stage_metrics) this.marks.metrics(stage_metrics, true);
    if (status === 'failed' && this.answer) {
      this.to.onFailed(this.answer.id, status_details?.error?.message ?? 'The answer failed.');
      if (this.answered) this.realtime.forget(this.answered.item);
    } else {
      this.edit((e) => ({ ...e, state: status === 'cancelled' ? 'stopped' : 'done' }));
    }
    this.setRunning(false);
  }

  private setRunning(running: boolean): void {
    this.running = running;
    this.to.onRunning(running);
  }

  private edit(update: (e: Entry) => Entry): void {
    if (this.answer) this.to.onChange(this.answer.id, update);
  }
}
