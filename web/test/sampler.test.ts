// What the live page makes of the server's readings.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMetrics } from '../src/prometheus';
import { busy, gauges, keep, means, rates, axisEnd, Sampler, WINDOW_MS, type Point } from '../src/sampler';

const point = (at_ms: number, text: string): Point => ({ at_ms, samples: parseMetrics(text) });

test('readings of two minutes are kept, and the one before', () => {
  const points = Array.from({ length: 400 }, (_, i) => point(1000 * i, ''));
  const kept = keep(points, 399_000);
  assert.equal(kept.length, 122);
  assert.equal(kept[1]!.at_ms, 399_000 - WINDOW_MS);
  assert.deepEqual(keep(points.slice(0, 3), 400_000), [points[2]]);
});

test('counters become rates, histograms means, shares those of the replicas', () => {
  const points = [
    point(0, 'c{s="1"} 4\nh_sum 1\nh_count 1\ng 3\ntutti:stage_busy_seconds_total{stage="0",replica="0"} 1\ntutti:stage_busy_seconds_total{stage="0",replica="1"} 1\n'),
    point(2000, 'c{s="1"} 10\nh_sum 1\nh_count 1\ng 5\ntutti:stage_busy_seconds_total{stage="0",replica="0"} 3\ntutti:stage_busy_seconds_total{stage="0",replica="1"} 1\n'),
    point(3000, 'c{s="1"} 1\nh_sum 4\nh_count 3\ng 1\ntutti:stage_busy_seconds_total{stage="0",replica="0"} 4.5\ntutti:stage_busy_seconds_total{stage="0",replica="1"} 2.5\n'),
  ];
  const values = (list: { value: number | null }[]) => list.map(({ value }) => value);
  assert.deepEqual(values(rates(points, 'c')), [3, 0]); // a server that began anew
  assert.deepEqual(values(means(points, 'h')), [null, 1.5]);
  assert.deepEqual(values(gauges(points, 'g')), [5, 1]);
  assert.deepEqual(values(busy(points, { stage_id: 0, model_stage: 'thinker', status: 'ready' })), [0.5, 1]);
});

test('axes end at round numbers', () => {
  assert.deepEqual([0, 1, 1.1, 4, 5, 0.03, 1200].map((peak) => axisEnd(peak, false)), [2, 1, 2, 4, 10, 0.04, 2000]);
  assert.deepEqual([0, 1, 2, 3, 4, 5, 30].map((peak) => axisEnd(peak, true)), [2, 2, 2, 4, 4, 10, 40]);
});

test('the sampler reads on after an error, and tells its listeners', async () => {
  let answers = 0;
  let now_ms = 0;
  const source = {
    metricsText: async () => {
      if (++answers === 2) throw new Error('gone');
      return `c ${answers}\n`;
    },
    health: async () => ({ stages: [] }),
  };
  const sampler = new Sampler(source, () => (now_ms += 1000));
  const told: string[] = [];
  const forget = sampler.listen(() => told.push(`${sampler.points.length} ${sampler.error}`));
  for (let i = 0; i < 3; ++i) await sampler.read();
  sampler.stop();
  forget();
  assert.deepEqual(told, ['1 ', '1 gone', '2 ']);
});
