// The last answer's timeline: seen by the page while it comes, told by the server meanwhile and when it has ended.
import { useMemo, useState } from 'preact/hooks';
import type { RequestMetrics, StageMetrics } from '../api';
import { paced } from '../paced';
import { beginProgress, endProgress, sawSound, sawText, type Progress, type ProgressMarks } from '../progress';

export function useProgress() {
  const [progress, setProgress] = useState<Progress>();
  const [stages, setStages] = useState<StageMetrics[]>([]); // as far as they are
  const [metrics, setMetrics] = useState<RequestMetrics>();
  const marks = useMemo((): ProgressMarks => {
    let seen: Progress | undefined;
    const drawing = paced(() => setProgress(seen));
    const see = (step: (p: Progress, now_ms: number) => Progress) => {
      seen = seen && step(seen, performance.now());
      drawing.soon();
    };
    return {
      begin: () => {
        setMetrics(undefined);
        setStages([]);
        seen = beginProgress(performance.now());
        setProgress(seen);
      },
      text: () => see(sawText),
      sound: (samples) => see((p, now_ms) => sawSound(p, now_ms, samples)),
      end: () => {
        see(endProgress);
        drawing.now();
      },
      metrics: (told, final) => (final ? setMetrics(told) : setStages(told.stages)),
    };
  }, []);
  return { progress, stages, metrics, marks };
}
