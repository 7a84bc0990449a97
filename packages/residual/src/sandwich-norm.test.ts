import { namesOf } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { rmsNorm } from './norms/rms-norm';
import { mapRow, meanMixer, meanRow, plus, rmsNormed, rowMap, rowsOf } from './plain.test-helper';
import { sandwichNorm } from './sandwich-norm';

const dim = 5;
const x = randomArray('x', [1, 3, dim]);
const parts = () => ({ dim, mixer: meanMixer({ dim }), feedforward: rowMap({ dim }) });

describe('sandwich_norm', () => {
  it.each([
    { normBefore: true, scale: 1, branchScale: 1 },
    { normBefore: true, scale: 0.5, branchScale: 0.25 },
    { normBefore: false, scale: 1, branchScale: 1 },
  ])('agrees with plain loops: %o', (o) => {
    const { outputs, parameters: p } = runBlock(sandwichNorm({ ...parts(), ...o }), { x });
    const normed = (rows: number[][], name: string) => rows.map((row) => rmsNormed(row, p[`${name}.weight`]!, 1e-6));
    const step = (rows: number[][], k: number, f: (rows: number[][]) => number[][]) => {
      const results = normed(f(o.normBefore ? normed(rows, `norm${k}`) : rows), `result_norm${k}`);
      return rows.map((row, i) => plus(row, results[i]!, [o.scale, o.branchScale]));
    };
    const mixed = step(rowsOf(x), 1, (rows) => rows.map((row) => mapRow(plus(row, meanRow(rows)), p['mixer.map.weight']!)));
    const y = step(mixed, 2, (rows) => rows.map((row) => mapRow(row, p['feedforward.map.weight']!)));
    expectClose(outputs.y!, { ...x, data: Float64Array.from(y.flat()) });
  });

  it('takes norms in the order of the sub-layers, before and after each', () => {
    const norm = (i: number) => rmsNorm({ dim, eps: i + 1 });
    const eps = (m: object | undefined) => (m as ReturnType<typeof rmsNorm>).about.config?.eps;
    const { children } = sandwichNorm({ ...parts(), norm });
    expect(['norm1', 'result_norm1', 'norm2', 'result_norm2'].map((n) => eps(children[n]))).toEqual([1, 2, 3, 4]);
    const after = sandwichNorm({ ...parts(), normBefore: false, norm }).children;
    expect(['result_norm1', 'result_norm2'].map((n) => eps(after[n]))).toEqual([1, 2]);
    expect([...namesOf(sandwichNorm({ ...parts(), normBefore: false })).parameters.keys()]).toEqual([
      'mixer.map.weight',
      'result_norm1.weight',
      'feedforward.map.weight',
      'result_norm2.weight',
    ]);
  });
});
