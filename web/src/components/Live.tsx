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

function Plot({ title, unit, values }: { title: string; unit: string; values: (number | null)[] }) {
  const known = values.filter((value): value is number => value !== null);
  const top = Math.max(1e-9, ...known);
  const last = known.at(-1);
  const x = (i: number) => (300 * (i + KEEP - values.length)) / (KEEP - 1);
  const y = (value: number) => 76 - (70 * value) / top;
  let path = '';
  let open = false;
  values.forEach((value, i) => {
    if (value === null) open = false;
    else {
      path += `${open ? 'L' : 'M'}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
      open = true;
    }
  });
  const show = (value: number) => (value >= 100 ? value.toFixed(0) : value >= 1 || value === 0 ? value.toFixed(1) : value.toFixed(3));
  const now = last === undefined ? 'nothing yet' : `${show(last)} ${unit}`;
  return (
    <figure class="plot">
      <figcaption>
        {title} <strong>{now}</strong>
      </figcaption>
      <svg viewBox="0 0 300 80" preserveAspectRatio="none" role="img" aria-label={`${title}: now ${now}, at most ${show(top)} ${unit}`}>
        <path d="M0 76H300" class="axis" />
        <path d={path} class="line" />
      </svg>
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
    <main class="live">
      <h2>Live</h2>
      {error && <p class="error" role="alert">{error}</p>}
      <ul class="health" aria-label="Stages">
        {stages.map((stage) => (
          <li key={stage.stage_id} class={stage.status}>
            {stage.model_stage}: {stage.status}
          </li>
        ))}
      </ul>
      <div class="plots">
        <Plot title="Text" unit="tokens/s" values={rates('vllm:generation_tokens_total')} />
        <Plot title="Speech" unit="s of audio per s" values={rates('tutti:audio_seconds_total')} />
        <Plot title="Running" unit="requests" values={gauges('vllm:num_requests_running')} />
        <Plot title="Waiting" unit="requests" values={gauges('vllm:num_requests_waiting')} />
        <Plot title="Time to first token" unit="s" values={means('vllm:time_to_first_token_seconds')} />
        <Plot title="Time to first audio" unit="s" values={means('tutti:time_to_first_audio_seconds')} />
        {stages.map((stage) => (
          <Plot
            key={stage.stage_id}
            title={`${stage.model_stage} busy`}
            unit="of 1"
            values={rates('tutti:stage_busy_seconds_total', { stage: String(stage.stage_id) })}
          />
        ))}
      </div>
    </main>
  );
}
