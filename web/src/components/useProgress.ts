// The last answer's timeline: seen by the page while it comes, told by the server meanwhile and when it has ended.
import { useState } from 'preact/hooks';
import type { RequestMetrics, StageMetrics } from '../api';
import { beginProgress, endProgress, sawSound, sawText, type Progress, type ProgressMarks } from '../progress';

export function useProgress() {
  const [progress, setProgress] = useState<Progress>();
  const [stages, setStages] = useState<StageMetrics[]>([]); // as far as they are
  const [metrics, setMetrics] = useState<RequestMetrics>();
  const see = (step: (p: Progress, now_ms: number) => Progress) => {
    const now_ms = performance.now();
    setProgress((p) => p && step(p, now_ms));
  };
  const marks: ProgressMarks = {
    begin: () => {
      setMetrics(undefined);
      setStages([]);
      setProgress(beginProgress(performance.now()));
    },
    text: () => see(sawText),
    sound: (samples) => see((p, now_ms) => sawSound(p, now_ms, samples)),
    end: () => see(endProgress),
    metrics: (told, final) => (final ? setMetrics(told) : setStages(told.stages)),
  };
  return { progress, stages, metrics, marks };
}
