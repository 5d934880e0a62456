// One plot of the last two minutes, with its axes.
import { axisEnd, WINDOW_MS, type Value } from '../sampler';

const WIDTH = 300;
const HEIGHT = 72;
const GAP_MS = 10_000; // further apart, nobody looked in between, and no line joins them

export interface PlotProps {
  title: string;
  unit: string;
  /** What stands at the axis, where `unit` is too long. */
  axis?: string;
  values: Value[];
  /** From a value to the unit. */
  scale?: number;
  digits?: number;
  /** Values are counts. */
  whole?: boolean;
  /** The axis's end in the unit; else a round number above all values. */
  top?: number;
  now_ms: number;
}

/** The stretches without gaps. */
function stretches(values: Value[]): { at_ms: number; value: number }[][] {
  const out: { at_ms: number; value: number }[][] = [];
  let last: number | undefined;
  for (const { at_ms, value } of values) {
    if (value === null) {
      last = undefined;
      continue;
    }
    if (last === undefined || at_ms - last > GAP_MS) out.push([]);
    out.at(-1)!.push({ at_ms, value });
    last = at_ms;
  }
  return out;
}

const tick = (value: number): string => String(Number(value.toPrecision(3)));

const ago = (span_ms: number): string =>
  span_ms >= WINDOW_MS - 2000 ? 'last 2 minutes' : `last ${Math.max(1, Math.round(span_ms / 1000))} s`;

export function Plot({ title, unit, axis = unit, values: raw, scale = 1, digits = 0, whole = false, top, now_ms }: PlotProps) {
  const values = raw.map(({ at_ms, value }) => ({ at_ms, value: value === null ? null : scale * value }));
  const known = values.flatMap(({ value }) => (value === null ? [] : [value]));
  const peak = Math.max(0, ...known);
  const end = top ?? axisEnd(peak, whole);
  const last = known.at(-1);
  const show = (value: number) => value.toFixed(digits > 0 && value >= 100 ? 0 : digits);
  const x = (at_ms: number) => (WIDTH * Math.max(0, 1 + (at_ms - now_ms) / WINDOW_MS)).toFixed(1);
  const y = (value: number) => (HEIGHT * (1 - value / end)).toFixed(1);
  const lines = stretches(values).map((points) => ({
    line: `M${points.map((p) => `${x(p.at_ms)} ${y(p.value)}`).join('L')}h0.01`,
    area: `M${x(points[0]!.at_ms)} ${HEIGHT}L${points.map((p) => `${x(p.at_ms)} ${y(p.value)}`).join('L')}V${HEIGHT}Z`,
  }));
  const span = ago(now_ms - (values[0]?.at_ms ?? now_ms));
  const most = `${show(peak)} ${unit}`;
  const spoken = last === undefined ? `nothing in the ${span}` : `${show(last)} ${unit}, at most ${most} in the ${span}`;
  return (
    <figure class="plot">
      <figcaption>
        {title}
        <strong>{last === undefined ? '–' : show(last)} <small>{unit}</small></strong>
      </figcaption>
      <div class="axes">
        <span class="axis-unit" aria-hidden="true">{axis}</span>
        <span class="ticks up" aria-hidden="true">
          <span>{tick(end)}</span>
          <span>{tick(end / 2)}</span>
          <span>0</span>
        </span>
        <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label={`${title}: now ${spoken}`}>
          <path class="grid" d={`M0 0H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}M${WIDTH / 2} 0V${HEIGHT}`} />
          <path class="axis" d={`M0 0V${HEIGHT}H${WIDTH}`} />
          {lines.map(({ area }) => <path class="area" d={area} />)}
          {lines.map(({ line }) => <path class="line" d={line} />)}
        </svg>
        <span class="ticks along" aria-hidden="true">
          <span>−2 min</span>
          <span>−1 min</span>
          <span>now</span>
        </span>
      </div>
      <p class="most">{last === undefined ? `nothing in the ${span}` : `peak ${most}, ${span}`}</p>
    </figure>
  );
}
