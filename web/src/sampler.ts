// What /metrics says, once a second, for as long as the page is open: the plots know what went before they are looked at.
import { parseMetrics, total, type Sample } from './prometheus';

export const WINDOW_MS = 120_000;
const EVERY_MS = 1000;
const AFTER_ERROR_MS = 3000;

export interface Point {
  at_ms: number;
  samples: Sample[];
}

export interface Stage {
  stage_id: number;
  model_stage: string;
  status: string;
}

export interface Source {
  metricsText(): Promise<string>;
  health(): Promise<{ stages?: Stage[] }>;
}

/** The readings of the last two minutes, and the one before them, from which the first difference goes. */
export function keep(points: Point[], now_ms: number): Point[] {
  const first = points.findIndex((point) => point.at_ms >= now_ms - WINDOW_MS);
  return first < 0 ? points.slice(-1) : points.slice(Math.max(0, first - 1));
}

export class Sampler {
  points: Point[] = [];
  stages: Stage[] = [];
  error = '';
  private readonly listeners = new Set<() => void>();
  private timer: ReturnType<typeof setTimeout> | undefined;
  private over = false;

  constructor(private readonly source: Source, private readonly now_ms: () => number = () => performance.now()) {}

  start(): void {
    void this.read();
  }

  stop(): void {
    this.over = true;
    clearTimeout(this.timer);
  }

  /** Calls `listener` after each reading, until what is returned is called. */
  listen(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async read(): Promise<void> {
    try {
      const [text, state] = await Promise.all([this.source.metricsText(), this.source.health()]);
      const at_ms = this.now_ms();
      this.points = keep([...this.points, { at_ms, samples: parseMetrics(text) }], at_ms);
      this.stages = state.stages ?? [];
      this.error = '';
    } catch (problem) {
      this.error = (problem as Error).message;
    }
    if (this.over) return;
    for (const listener of this.listeners) listener();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.read(), this.error ? AFTER_ERROR_MS : EVERY_MS);
  }
}

/** A value and when it was so; null: there was none. */
export interface Value {
  at_ms: number;
  value: number | null;
}

const between = (points: Point[], value: (from: Point, to: Point) => number | null): Value[] =>
  points.slice(1).map((to, i) => ({ at_ms: to.at_ms, value: value(points[i]!, to) }));

/** Increase per second of a counter. */
export const rates = (points: Point[], name: string, labels: Record<string, string> = {}): Value[] =>
  between(points, (from, to) => {
    const seconds = (to.at_ms - from.at_ms) / 1000;
    return Math.max(0, (total(to.samples, name, labels) - total(from.samples, name, labels)) / seconds);
  });

/** Mean of what a histogram counted between two readings; null when it counted nothing. */
export const means = (points: Point[], name: string): Value[] =>
  between(points, (from, to) => {
    const count = total(to.samples, `${name}_count`) - total(from.samples, `${name}_count`);
    return count > 0 ? (total(to.samples, `${name}_sum`) - total(from.samples, `${name}_sum`)) / count : null;
  });

export const gauges = (points: Point[], name: string): Value[] =>
  points.slice(1).map(({ at_ms, samples }) => ({ at_ms, value: total(samples, name) }));

/** Share of the time in which a stage worked, over all its replicas, 0 to 1. */
export const busy = (points: Point[], stage: Stage): Value[] => {
  const name = 'tutti:stage_busy_seconds_total';
  const labels = { stage: String(stage.stage_id) };
  const replicas = points.at(-1)?.samples.filter((s) => s.name === name && s.labels.stage === labels.stage).length ?? 0;
  // A step that ends just after a reading counts for the next one.
  return rates(points, name, labels).map((v) => ({ ...v, value: Math.min(1, (v.value ?? 0) / Math.max(1, replicas)) }));
};

/** Where an axis ends that holds `peak`: its middle is 1, 2 or 5 times a power of ten, and a whole number for counts. */
export function axisEnd(peak: number, whole: boolean): number {
  if (!(peak > 0)) return 2;
  const half = whole ? Math.max(1, peak / 2) : peak / 2;
  const decade = 10 ** Math.floor(Math.log10(half));
  return 2 * decade * ([1, 2, 5, 10].find((step) => step * decade >= half * (1 - 1e-9)) ?? 10);
}
