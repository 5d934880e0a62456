// Live throughput, from the readings that the page keeps.
import { useEffect, useState } from 'preact/hooks';
import { busy, gauges, means, rates, type Sampler } from '../sampler';
import { Plot } from './Plot';

export function Live({ sampler }: { sampler: Sampler }) {
  const [, redraw] = useState(0);
  useEffect(() => sampler.listen(() => redraw((n) => n + 1)), [sampler]);
  const { points, stages, error } = sampler;
  const shared = { now_ms: points.at(-1)?.at_ms ?? 0 };
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
        <Plot {...shared} title="Text" unit="tokens/s" digits={1} values={rates(points, 'vllm:generation_tokens_total')} />
        <Plot {...shared} title="Speech" unit="s of sound per s" axis="s/s" digits={1} values={rates(points, 'tutti:audio_seconds_total')} />
        <Plot {...shared} title="Running" unit="requests" whole values={gauges(points, 'vllm:num_requests_running')} />
        <Plot {...shared} title="Waiting" unit="requests" whole values={gauges(points, 'vllm:num_requests_waiting')} />
        <Plot {...shared} title="Time to first token" unit="ms" scale={1000} values={means(points, 'vllm:time_to_first_token_seconds')} />
        <Plot {...shared} title="Time to first audio" unit="ms" scale={1000} values={means(points, 'tutti:time_to_first_audio_seconds')} />
        {stages.map((stage) => (
          <Plot {...shared} key={stage.stage_id} title={`${stage.model_stage} busy`} unit="%" scale={100} top={100}
            values={busy(points, stage)} />
        ))}
      </div>
    </main>
  );
}
