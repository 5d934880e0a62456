// Answers that are heard again: one at a time, and none beside a new one.

let replayed: HTMLAudioElement | null = null;

export function replay(audio: HTMLAudioElement): void {
  if (replayed !== audio) replayed?.pause();
  replayed = audio;
  // It may be paused before it has begun, which is no error.
  audio.play().catch(() => {});
}

/** Ends what is heard again, be it `audio` or any. */
export function hush(audio: HTMLAudioElement | null = replayed): void {
  audio?.pause();
  if (replayed === audio) replayed = null;
}
