// Live throughput: what /metrics says, once a second, over the last two minutes.
import { useEffect, useState } from 'preact/hooks';
import { health, metricsText } from '../api';
import { parseMetrics, total, type Sample } from '../prometheus';

const KEEP = 120;

interface Point {
  at: number;
  samples: Sample[];
}

/** Increase per second of a counter between two readings. */
function rate(from: Point, to: Point, name: string, labels?: Record<string, string>): number {
  const seconds = (to.at - from.at) / 1000;
  return Math.max(0, (total(to.samples, name, labels) - total(from.samples, name, labels)) / seconds);
}

/** Mean of what a histogram counted between two readings; null when it counted nothing. */
function mean(from: Point, to: Point, name: string): number | null {
  const count = total(to.samples, `${name}_count`) - total(from.samples, `${name}_count`);
  if (count <= 0) return null;
  return (total(to.samples, `${name}_sum`) - total(from.samples, `${name}_sum`)) / count;
}

type Format = (value: number) => string;
const few: Format = (value) => (value >= 100 ? value.toFixed(0) : value.toFixed(1));
const whole: Format = (value) => value.toFixed(0);
const percent: Format = (value) => (100 * value).toFixed(0);
const milliseconds: Format = (value) => (1000 * value).toFixed(0);

interface PlotProps {
  title: string;
  unit: string;
  values: (number | null)[];
  show?: Format;
}

function Plot({ title, unit, values, show = few }: PlotProps) {
  const known = values.filter((value): value is number => value !== null);
  const top = Math.max(1e-9, ...known);
  const last = known.at(-1);
  const x = (i: number) => (300 * (i + KEEP - values.length)) / (KEEP - 1);
  const y = (value: number) => 76 - (70 * value) / top;
  // Each stretch without gaps is a line, and an area below it.
  const lines: string[] = [];
  const areas: string[] = [];
  for (let i = 0; i < values.length; ++i) {
    let end = i;
    while (end < values.length && values[end] !== null) ++end;
    if (end === i) continue;
    const points = values.slice(i, end).map((value, k) => `${x(i + k).toFixed(1)} ${y(value!).toFixed(1)}`);
    lines.push(`M${points.join('L')}`);
    areas.push(`M${x(i).toFixed(1)} 76L${points.join('L')}L${x(end - 1).toFixed(1)} 76Z`);
    i = end;
  }
  const now = last === undefined ? 'nothing yet' : `${show(last)} ${unit}`;
  const most = `${show(known.length > 0 ? top : 0)} ${unit}`;
  return (
    <figure class="plot">
      <figcaption>
        {title}
        <strong>{last === undefined ? '–' : show(last)} <small>{unit}</small></strong>
      </figcaption>
      <svg viewBox="0 0 300 80" preserveAspectRatio="none" role="img" aria-label={`${title}: now ${now}, at most ${most}`}>
        <path d="M0 6H300M0 41H300" class="grid" />
        <path d={areas.join('')} class="area" />
        <path d="M0 76H300" class="axis" />
        <path d={lines.join('')} class="line" />
      </svg>
      <p class="most">{known.length > 0 ? `peak ${most}` : 'nothing yet'} · last 2 minutes</p>
    </figure>
  );
}

export function Live() {
  const [points, setPoints] = useState<Point[]>([]);
  const [stages, setStages] = useState<any[]>([]);
  const [error, setError] = useState('');

  useEffect(() => {
    let over = false;
    let timer = 0;
    const read = async () => {
      try {
        const [text, state] = await Promise.all([metricsText(), health()]);
        if (over) return;
        setPoints((before) => [...before, { at: performance.now(), samples: parseMetrics(text) }].slice(-KEEP - 1));
        setStages(state.stages ?? []);
        setError('');
      } catch (problem) {
        setError((problem as Error).message);
      }
      if (!over) timer = window.setTimeout(read, 1000);
    };
    void read();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, []);

  const pairs = points.slice(1).map((to, i) => [points[i]!, to] as const);
  const rates = (name: string, labels?: Record<string, string>) => pairs.map(([from, to]) => rate(from, to, name, labels));
  const gauges = (name: string) => points.slice(1).map((point) => total(point.samples, name));
  const means = (name: string) => pairs.map(([from, to]) => mean(from, to, name));

  return (
    <main class="live" tabIndex={0} aria-label="Live">
      <div class="live-head">
        <h2>Live</h2>
        <ul class="health" aria-label="Stages">
          {stages.map((stage) => (
            <li key={stage.stage_id} class={stage.status}>
              {stage.model_stage} <span>{stage.status}</span>
            </li>
          ))}
        </ul>
      </div>
      {error && <p class="error" role="alert">{error}</p>}
      <div class="plots">
        <Plot title="Text" unit="tokens/s" values={rates('vllm:generation_tokens_total')} />
        <Plot title="Speech" unit="s of sound per s" values={rates('tutti:audio_seconds_total')} />
        <Plot title="Running" unit="requests" show={whole} values={gauges('vllm:num_requests_running')} />
        <Plot title="Waiting" unit="requests" show={whole} values={gauges('vllm:num_requests_waiting')} />
        <Plot title="Time to first token" unit="ms" show={milliseconds} values={means('vllm:time_to_first_token_seconds')} />
        <Plot title="Time to first audio" unit="ms" show={milliseconds} values={means('tutti:time_to_first_audio_seconds')} />
        {stages.map((stage) => (
          <Plot
            key={stage.stage_id}
            title={`${stage.model_stage} busy`}
            unit="%"
            show={percent}
            values={rates('tutti:stage_busy_seconds_total', { stage: String(stage.stage_id) })}
          />
        ))}
      </div>
    </main>
  );
}
