// What the page itself has seen of the answer that is coming, and what its stages have said of themselves so far.
import type { RequestMetrics, StageMetrics } from './api';
import { PCM_RATE } from './audio/pcm';

/** Seconds since the request. */
export interface Span {
  from_s: number;
  to_s: number;
}

export interface Progress {
  begun_ms: number; // of performance.now()
  text?: Span;
  sound?: Span;
  audio_s: number;
  /** None while the answer is coming. */
  end_s?: number;
}

export const beginProgress = (now_ms: number): Progress => ({ begun_ms: now_ms, audio_s: 0 });

export const elapsed = (p: Progress, now_ms: number): number => p.end_s ?? (now_ms - p.begun_ms) / 1000;

function longer(span: Span | undefined, p: Progress, now_ms: number): Span {
  const at = elapsed(p, now_ms);
  return { from_s: span?.from_s ?? at, to_s: at };
}

export const sawText = (p: Progress, now_ms: number): Progress => ({ ...p, text: longer(p.text, p, now_ms) });

export const sawSound = (p: Progress, now_ms: number, samples: number): Progress => ({
  ...p,
  sound: longer(p.sound, p, now_ms),
  audio_s: p.audio_s + samples / PCM_RATE,
});

export const endProgress = (p: Progress, now_ms: number): Progress => ({ ...p, end_s: elapsed(p, now_ms) });

/** When a stage waited and when it was active, as of `now_s`; the active part has no end of its own until it is over. */
export function stageSpans(stage: StageMetrics, now_s: number): { queue: Span; active?: Span; over: boolean } {
  const over = stage.finished_s > 0;
  const now = Math.max(now_s, stage.submitted_s);
  if (stage.first_scheduled_s <= 0) return { queue: { from_s: stage.submitted_s, to_s: now }, over };
  const begin = stage.first_scheduled_s;
  const end = over ? stage.finished_s : Math.max(now, begin);
  return { queue: { from_s: stage.submitted_s, to_s: begin }, active: { from_s: begin, to_s: end }, over };
}

/** Where those who see the answer come say so. */
export interface ProgressMarks {
  begin(): void;
  text(): void;
  sound(samples: number): void;
  end(): void;
  /** `final`: the answer is over, and these are its times. */
  metrics(metrics: RequestMetrics, final: boolean): void;
}
