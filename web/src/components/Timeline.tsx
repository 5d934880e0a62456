// What each stage did when, of one request: waiting, active, and the moments a person notices.
import { useEffect, useState } from 'preact/hooks';
import type { RequestMetrics, StageMetrics } from '../api';
import { elapsed, stageSpans, type Progress, type Span } from '../progress';

const TICK_MS = 100;

const ms = (seconds: number | null | undefined): string => {
  if (seconds === null || seconds === undefined) return '–';
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

interface FiguresProps {
  ttft_s?: number | null;
  ttfa_s?: number | null;
  rtf?: number | null;
  underrun_s?: number;
  audio_s: number;
  total_s: number;
}

const Figures = (of: FiguresProps) => (
  <dl class="figures">
    <Figure name="TTFT" title="Time to the first token" value={ms(of.ttft_s)} />
    <Figure name="TTFA" title="Time to the first audible sound" value={ms(of.ttfa_s)} />
    <Figure name="RTF" title="Processing time over audio time" value={of.rtf?.toFixed(2) ?? '–'} />
    <Figure name="Underrun" title="Time a listener waited in silence" value={ms(of.underrun_s)} />
    <Figure name="Audio" title="Length of the spoken answer" value={`${of.audio_s.toFixed(1)} s`} />
    <Figure name="Total" title="From request to end" value={ms(of.total_s)} />
  </dl>
);

interface RowProps {
  name: string;
  figures: string;
  /** The same for those who do not see the bars. */
  what: string;
  queue: Span;
  active?: Span;
  first_s?: number;
  end_s: number;
}

function Row({ name, figures, what, queue, active, first_s, end_s }: RowProps) {
  const percent = (seconds: number) => `${(100 * Math.max(0, seconds)) / end_s}%`;
  const place = ({ from_s, to_s }: Span) => ({ left: percent(from_s), width: percent(to_s - from_s) });
  return (
    <li>
      <span class="stage-name">
        {name}
        <span class="stage-figures">{figures}</span>
      </span>
      <div class="track" role="img" aria-label={what} title={what}>
        <span class="bar queue" style={place(queue)} />
        {active && <span class="bar work" style={place(active)} />}
        {first_s !== undefined && first_s > 0 && <span class="mark" style={{ left: percent(first_s) }} />}
      </div>
    </li>
  );
}

function StageRow({ stage, end_s }: { stage: StageMetrics; end_s: number }) {
  const queue = { from_s: stage.submitted_s, to_s: stage.first_scheduled_s };
  const active = { from_s: stage.first_scheduled_s, to_s: stage.finished_s };
  const length = ms(active.to_s - active.from_s);
  const what =
    `${stage.model_stage}: waited ${ms(queue.to_s - queue.from_s)}, active for ${length} from ${ms(active.from_s)} to ` +
    `${ms(active.to_s)}, computing for ${ms(stage.compute_s)} of it, first output at ${ms(stage.first_output_s)}, ` +
    `${stage.prompt_tokens} in (${stage.cached_tokens} cached), ${stage.output_tokens} out`;
  return (
    <Row name={stage.model_stage} figures={`active ${length} · computing ${ms(stage.compute_s)}`} what={what} queue={queue}
      active={active} first_s={stage.first_output_s} end_s={end_s} />
  );
}

/** A stage of an answer that is coming: its bar grows until it is over. */
function GrowingRow({ stage, now_s }: { stage: StageMetrics; now_s: number }) {
  const { queue, active, over } = stageSpans(stage, now_s);
  const waited = ms(queue.to_s - queue.from_s);
  const length = active && ms(active.to_s - active.from_s);
  const figures = active ? `active ${length}` : `waiting ${waited}`;
  const what = !active
    ? `${stage.model_stage}: waiting since ${ms(queue.from_s)}`
    : `${stage.model_stage}: waited ${waited}, active ${over ? `for ${length} from` : 'since'} ${ms(active.from_s)}`;
  return (
    <Row name={stage.model_stage} figures={figures} what={what} queue={queue} active={active} first_s={stage.first_output_s}
      end_s={Math.max(now_s, 1e-3)} />
  );
}

/** Text or sound as it comes: waited for until the first of it, then arriving. */
function ComingRow({ name, span, now_s, over }: { name: string; span: Span | undefined; now_s: number; over: boolean }) {
  const figures = span ? `first at ${ms(span.from_s)}` : over ? 'none' : 'waiting';
  const what = span ? `${name}: first at ${ms(span.from_s)}, last at ${ms(span.to_s)}` : `${name}: none yet`;
  return (
    <Row name={name} figures={figures} what={what} queue={{ from_s: 0, to_s: span?.from_s ?? now_s }} active={span}
      first_s={span?.from_s} end_s={Math.max(now_s, 1e-3)} />
  );
}

const Scale = ({ end_s }: { end_s: number }) => (
  <p class="scale" aria-hidden="true">
    <span>0</span>
    <span>{ms(end_s / 2)}</span>
    <span>{ms(end_s)}</span>
  </p>
);

const Legend = ({ work }: { work: string }) => (
  <p class="legend" aria-hidden="true">
    <span class="key queue" /> waiting <span class="key work" /> {work} <span class="key mark" /> first output
  </p>
);

function Coming({ progress, stages, speech }: { progress: Progress; stages: StageMetrics[]; speech: boolean }) {
  const [, redraw] = useState(0);
  const over = progress.end_s !== undefined;
  useEffect(() => {
    if (over) return;
    const timer = setInterval(() => redraw((n) => n + 1), TICK_MS);
    return () => clearInterval(timer);
  }, [over, progress.begun_ms]);
  const now_s = elapsed(progress, performance.now());
  return (
    <div class="timeline">
      <Figures ttft_s={progress.text?.from_s} ttfa_s={progress.sound?.from_s} audio_s={progress.audio_s} total_s={now_s} />
      <ol aria-label="The answer so far">
        <ComingRow name="text" span={progress.text} now_s={now_s} over={over} />
        {(speech || progress.sound) && <ComingRow name="sound" span={progress.sound} now_s={now_s} over={over} />}
      </ol>
      {stages.length > 0 && (
        <ol aria-label="The stages so far">
          {stages.map((stage) => (
            <GrowingRow key={stage.stage_id} stage={stage} now_s={now_s} />
          ))}
        </ol>
      )}
      <Scale end_s={now_s} />
      <Legend work={stages.length > 0 ? 'active' : 'arriving'} />
      {over && <p class="hint">The answer ended before its stages told all their times.</p>}
      {!over && stages.length === 0 && <p class="hint">The stages follow.</p>}
    </div>
  );
}

interface Props {
  progress: Progress | undefined;
  /** What the stages have said while the answer was coming. */
  stages: StageMetrics[];
  metrics: RequestMetrics | undefined;
  /** Whether sound is to be expected. */
  speech: boolean;
}

export function Timeline({ progress, stages: coming, metrics, speech }: Props) {
  if (!metrics && progress) return <Coming progress={progress} stages={coming} speech={speech} />;
  if (!metrics) return <p class="hint">What each stage does, and when, appears here with the first answer.</p>;
  const stages = metrics.stages.filter((stage) => stage.finished_s > 0);
  const end_s = Math.max(metrics.total_s, ...stages.map((stage) => stage.finished_s), 1e-3);
  return (
    <div class="timeline">
      <Figures {...metrics} />
      <ol aria-label="Stages over time">
        {stages.map((stage) => (
          <StageRow key={stage.stage_id} stage={stage} end_s={end_s} />
        ))}
      </ol>
      <Scale end_s={end_s} />
      <Legend work="active" />
    </div>
  );
}
