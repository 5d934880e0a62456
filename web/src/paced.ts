// What comes more often than a screen shows it: drawn at once, and then no more often than people see.

const EVERY_MS = 50;

export interface Paced {
  /** There is something new to draw. */
  soon(): void;
  /** Draws what has not been drawn yet. */
  now(): void;
}

/** `later`: the timer. */
export function paced(draw: () => void, later: (then: () => void, ms: number) => unknown = setTimeout): Paced {
  let resting = false; // for a while after each drawing
  let left = false;
  const drawNow = () => {
    left = false;
    draw();
  };
  const drawAndRest = () => {
    resting = true;
    later(() => {
      resting = false;
      if (left) drawAndRest();
    }, EVERY_MS);
    drawNow();
  };
  return {
    soon: () => {
      left = true;
      if (!resting) drawAndRest();
    },
    now: () => {
      if (left) drawNow();
    },
  };
}

/** An answer's words and sound, gathered between two drawings. */
export class Gathered {
  private text = '';
  private audio: Int16Array[] = [];
  private readonly pace: Paced;

  constructor(show: (text: string, audio: Int16Array[]) => void) {
    this.pace = paced(() => {
      const { text, audio } = this;
      this.text = '';
      this.audio = [];
      show(text, audio);
    });
  }

  addText(delta: string): void {
    this.text += delta;
    this.pace.soon();
  }

  addAudio(pcm: Int16Array): void {
    this.audio.push(pcm);
    this.pace.soon();
  }

  /** Nothing more will come for now: shows what is left. */
  flush(): void {
    this.pace.now();
  }
}
