// What each stage did when, of one request: waiting, working, and the moments a person notices.
import type { RequestMetrics, StageMetrics } from '../api';

const ms = (seconds: number | null): string => {
  if (seconds === null) return '–';
  return seconds < 1 ? `${(seconds * 1000).toFixed(0)} ms` : `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
};

function Figure({ name, title, value }: { name: string; title: string; value: string }) {
  return (
    <div class="figure" title={title}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Row({ stage, end }: { stage: StageMetrics; end: number }) {
  const percent = (seconds: number) => `${(100 * Math.max(0, seconds)) / end}%`;
  const queue = stage.first_scheduled_s - stage.submitted_s;
  const work = stage.finished_s - stage.first_scheduled_s;
  const what =
    `${stage.model_stage}: waited ${ms(queue)}, worked from ${ms(stage.first_scheduled_s)} to ${ms(stage.finished_s)}, ` +
    `computing ${ms(stage.compute_s)}, ${stage.prompt_tokens} in (${stage.cached_tokens} cached), ${stage.output_tokens} out`;
  return (
    <li>
      <span class="stage-name">
        {stage.model_stage}
        <span class="computing" title="Time spent computing">{ms(stage.compute_s)}</span>
      </span>
      <div class="track" role="img" aria-label={what} title={what}>
        <span class="bar queue" style={{ left: percent(stage.submitted_s), width: percent(queue) }} />
        <span class="bar work" style={{ left: percent(stage.first_scheduled_s), width: percent(work) }} />
        {stage.first_output_s > 0 && <span class="mark" style={{ left: percent(stage.first_output_s) }} />}
      </div>
    </li>
  );
}

export function Timeline({ metrics }: { metrics: RequestMetrics | undefined }) {
  if (!metrics) return <p class="hint">What each stage does, and when, appears here with the first answer.</p>;
  const stages = metrics.stages.filter((stage) => stage.finished_s > 0);
  const end = Math.max(metrics.total_s, ...stages.map((stage) => stage.finished_s), 1e-3);
  return (
    <div class="timeline">
      <dl class="figures">
        <Figure name="TTFT" title="Time to the first token" value={ms(metrics.ttft_s)} />
        <Figure name="TTFA" title="Time to the first audible sound" value={ms(metrics.ttfa_s)} />
        <Figure name="RTF" title="Processing time over audio time" value={metrics.rtf?.toFixed(2) ?? '–'} />
        <Figure name="Underrun" title="Time a listener waited in silence" value={ms(metrics.underrun_s)} />
        <Figure name="Audio" title="Length of the spoken answer" value={`${metrics.audio_s.toFixed(1)} s`} />
        <Figure name="Total" title="From request to end" value={ms(metrics.total_s)} />
      </dl>
      <ol aria-label="Stages over time">
        {stages.map((stage) => (
          <Row key={stage.stage_id} stage={stage} end={end} />
        ))}
      </ol>
      <p class="scale" aria-hidden="true">
        <span>0</span>
        <span>{ms(end / 2)}</span>
        <span>{ms(end)}</span>
      </p>
      <p class="legend" aria-hidden="true">
        <span class="key queue" /> waiting <span class="key work" /> working <span class="key mark" /> first output
      </p>
    </div>
  );
}
