// The last answer's timeline: seen by the page while it comes, told by the server when it has ended.
import { useState } from 'preact/hooks';
import type { RequestMetrics } from '../api';
import { beginProgress, endProgress, sawSound, sawText, type Progress, type ProgressMarks } from '../progress';

export function useProgress() {
  const [progress, setProgress] = useState<Progress>();
  const [metrics, setMetrics] = useState<RequestMetrics>();
  const see = (step: (p: Progress, now_ms: number) => Progress) => {
    const now_ms = performance.now();
    setProgress((p) => p && step(p, now_ms));
  };
  const marks: ProgressMarks = {
    begin: () => {
      setMetrics(undefined);
      setProgress(beginProgress(performance.now()));
    },
    text: () => see(sawText),
    sound: (samples) => see((p, now_ms) => sawSound(p, now_ms, samples)),
    end: () => see(endProgress),
    metrics: setMetrics,
  };
  return { progress, metrics, marks };
}
